// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
)

// surrogates returns the two halves of a character beyond the first 65536.
func surrogates(r rune) (rune, rune) { return utf16.EncodeRune(r) }

// yamlEncoder writes YAML 1.2 that readers of YAML 1.1 read in the same way: it quotes everything that is not
// a plain word, with the same escapes as in JSON.
type yamlEncoder struct{}

func (yamlEncoder) begin() string      { return "" }
func (yamlEncoder) beginItems() string { return "items:" }
func (yamlEncoder) end() string        { return "" }

func (yamlEncoder) endItems(n int) string {
	if n == 0 {
		return " []\n"
	}
	return ""
}

func (yamlEncoder) field(name string, value any, _ bool) (string, error) {
	text, err := marshalYAML(value, "  ")
	return name + ":" + text, err
}

func (yamlEncoder) item(value any, first bool) (string, error) {
	text, err := marshalYAML([]any{value}, "")
	if !first {
		text = strings.TrimPrefix(text, "\n")
	}
	return text, err
}

// marshalYAML returns value as the text after "key:" at an indentation. It converts from JSON, so that the
// fields keep their order and their names.
func marshalYAML(value any, indent string) (string, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	y := &yamlWriter{decoder: decoder}
	if err := y.value(indent); err != nil {
		return "", err
	}
	return y.b.String(), nil
}

type yamlWriter struct {
	b       strings.Builder
	decoder *json.Decoder
}

// value writes the next value after a key.
func (y *yamlWriter) value(indent string) error {
	token, err := y.decoder.Token()
	if err != nil {
		return err
	}
	delim, nested := token.(json.Delim)
	if !nested {
		y.b.WriteString(" " + yamlScalar(token) + "\n")
		return nil
	}
	if !y.decoder.More() {
		fmt.Fprintf(&y.b, " %c%c\n", delim, delim+2) // the closing signs follow the opening ones by two
	} else {
		y.b.WriteString("\n")
	}
	for y.decoder.More() {
		if delim == '[' {
			y.b.WriteString(indent + "-")
			err = y.element(indent)
		} else {
			err = y.member(indent)
		}
		if err != nil {
			return err
		}
	}
	_, err = y.decoder.Token()
	return err
}

// element writes an element of a list after its dash. The first member of an object is on the same line.
func (y *yamlWriter) element(indent string) error {
	inner := &yamlWriter{decoder: y.decoder}
	if err := inner.value(indent + "  "); err != nil {
		return err
	}
	text := inner.b.String()
	if rest, ok := strings.CutPrefix(text, "\n"+indent+"  "); ok {
		text = " " + rest
	}
	y.b.WriteString(text)
	return nil
}

func (y *yamlWriter) member(indent string) error {
	key, err := y.decoder.Token()
	if err != nil {
		return err
	}
	y.b.WriteString(indent + yamlScalar(key) + ":")
	return y.value(indent + "  ")
}

// plainWord matches text that every reader of YAML reads as text, unless it is one of notText.
var plainWord = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*( [A-Za-z0-9_./(-][A-Za-z0-9_./()-]*)*$`)

// notText matches the words that YAML 1.1 or 1.2 reads as something else.
var notText = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null|nan|inf)$`)

func yamlScalar(token json.Token) string {
	text, ok := token.(string)
	if !ok {
		if token == nil {
			return "null"
		}
		return fmt.Sprint(token)
	}
	if plainWord.MatchString(text) && !notText.MatchString(text) {
		return text
	}
	return yamlQuoted(text)
}

// yamlQuoted returns a double-quoted scalar (YAML 1.2, section 7.3.1).
func yamlQuoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case display.Visible(r):
			b.WriteRune(r)
		default:
			b.WriteString(display.Escape(r))
		}
	}
	b.WriteByte('"')
	return b.String()
}
