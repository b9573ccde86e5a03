// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// maxKeptProblems is how many errors the machine formats list. They follow all items and are kept until then.
// The summary counts them all.
const maxKeptProblems = 10_000

// stream writes the one object of the formats JSON and YAML item by item.
type stream struct {
	w        io.Writer
	encode   encoder
	items    int
	problems []Problem
	omitted  int

	pipelineRuns []*PipelineRun
	unlisted     int // PipelineRuns
}

// encoder is the part of the output that differs between JSON and YAML.
type encoder interface {
	begin() string
	field(name string, value any, first bool) (string, error)
	beginItems() string
	item(value any, first bool) (string, error)
	endItems(n int) string
	end() string
}

func newJSON(w io.Writer) *stream { return &stream{w: w, encode: jsonEncoder{}} }
func newYAML(w io.Writer) *stream { return &stream{w: w, encode: yamlEncoder{}} }

func (s *stream) write(text string) error {
	_, err := io.WriteString(s.w, text)
	return err
}

func (s *stream) field(name string, value any, first bool) error {
	text, err := s.encode.field(name, value, first)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return s.write(text)
}

// Start implements Printer.
func (s *stream) Start(tool version.Info, trust *Trust) error {
	if err := s.write(s.encode.begin()); err != nil {
		return err
	}
	if err := s.field("apiVersion", APIVersion, true); err != nil {
		return err
	}
	if err := s.field("kind", Kind, false); err != nil {
		return err
	}
	if err := s.field("tool", tool, false); err != nil {
		return err
	}
	if trust != nil {
		if err := s.field("trust", trust, false); err != nil {
			return err
		}
	}
	return s.write(s.encode.beginItems())
}

// Item implements Printer.
func (s *stream) Item(item *Item) error {
	text, err := s.encode.item(item, s.items == 0)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	s.items++
	return s.write(text)
}

// Problem implements Printer.
func (s *stream) Problem(p Problem) error {
	if len(s.problems) == maxKeptProblems {
		s.omitted++
		return nil
	}
	s.problems = append(s.problems, p)
	return nil
}

// End implements Printer.
func (s *stream) End(end Ending) error {
	if err := s.write(s.encode.endItems(s.items)); err != nil {
		return err
	}
	if err := s.endPipelineRuns(); err != nil {
		return err
	}
	if s.omitted > 0 {
		s.problems = append(s.problems, Problem{Message: fmt.Sprintf("%d more errors, which are not listed", s.omitted)})
	}
	if len(s.problems) > 0 {
		if err := s.field("errors", s.problems, false); err != nil {
			return err
		}
	}
	if len(end.Notes) > 0 {
		if err := s.field("notes", end.Notes, false); err != nil {
			return err
		}
	}
	if end.Interrupted {
		if err := s.field("interrupted", true, false); err != nil {
			return err
		}
	}
	if err := s.field("summary", end.Summary, false); err != nil {
		return err
	}
	return s.write(s.encode.end())
}

// jsonEncoder writes JSON with an indentation of two spaces.
type jsonEncoder struct{}

func (jsonEncoder) begin() string      { return "{" }
func (jsonEncoder) beginItems() string { return ",\n  \"items\": [" }
func (jsonEncoder) end() string        { return "\n}\n" }

func (jsonEncoder) endItems(n int) string {
	if n == 0 {
		return "]"
	}
	return "\n  ]"
}

func (jsonEncoder) field(name string, value any, first bool) (string, error) {
	text, err := marshalJSON(value, "  ")
	comma := ","
	if first {
		comma = ""
	}
	return fmt.Sprintf("%s\n  %q: %s", comma, name, text), err
}

func (jsonEncoder) item(value any, first bool) (string, error) {
	text, err := marshalJSON(value, "    ")
	comma := ","
	if first {
		comma = ""
	}
	return comma + "\n    " + text, err
}

// marshalJSON returns the JSON of value. It escapes control characters and invisible characters.
func marshalJSON(value any, prefix string) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent(prefix, "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return escapeHidden(strings.TrimSuffix(b.String(), "\n")), nil
}

// escapeHidden escapes every character in JSON that is invisible or moves other text. The value stays the
// same.
func escapeHidden(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range text {
		switch {
		case r == '\n' || display.Visible(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := surrogates(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
