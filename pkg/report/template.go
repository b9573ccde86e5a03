// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/client-go/util/jsonpath"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// whole collects the whole report and passes it to one of kubectl's printers, because a template may use any
// part of it. It escapes the strings of the report before that, but not those of the template, which are the
// user's own.
type whole struct {
	w       io.Writer
	printer printers.ResourcePrinter
	report  Report
}

func newJSONPath(w io.Writer, template string) (Printer, error) {
	printer, err := printers.NewJSONPathPrinter(template)
	if err != nil {
		return nil, fmt.Errorf("--output: %w", err)
	}
	printer.AllowMissingKeys(true)
	return &whole{w: w, printer: printer}, nil
}

func newGoTemplate(w io.Writer, template string) (Printer, error) {
	printer, err := printers.NewGoTemplatePrinter([]byte(template))
	if err != nil {
		return nil, fmt.Errorf("--output: %w", err)
	}
	printer.AllowMissingKeys(true)
	return &whole{w: w, printer: printer}, nil
}

func (p *whole) Start(tool version.Info, trust *Trust) error {
	p.report = Report{APIVersion: APIVersion, Kind: Kind, Tool: tool, Trust: trust, Items: []Item{}}
	return nil
}

func (p *whole) Item(item *Item) error {
	p.report.Items = append(p.report.Items, *item)
	return nil
}

func (p *whole) Problem(problem Problem) error {
	p.report.Errors = append(p.report.Errors, problem)
	return nil
}

func (p *whole) End(end Ending) error {
	p.report.Summary, p.report.Notes, p.report.Interrupted = end.Summary, end.Notes, end.Interrupted
	object, err := safeObject(p.report)
	if err != nil {
		return err
	}
	fields, _ := object.(map[string]any)
	if err := p.printer.PrintObj(&unstructured.Unstructured{Object: fields}, p.w); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	return nil
}

// safeObject returns value as maps, lists and scalars whose strings are safe to show.
func safeObject(value any) (any, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("writing the report: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	var object any
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("writing the report: %w", err)
	}
	return safeStrings(object), nil
}

func safeStrings(value any) any {
	switch v := value.(type) {
	case string:
		return display.Safe(v)
	case float64:
		return int64(v) // the report has no fractions
	case []any:
		for i := range v {
			v[i] = safeStrings(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = safeStrings(v[key])
		}
	}
	return value
}

// customColumns writes one row for each TaskRun, as kubectl's custom-columns does for each object.
type customColumns struct {
	titles  []string
	paths   []*jsonpath.JSONPath
	aligner aligner
	headed  bool
}

// columnPath matches the short forms of JSONPath that kubectl takes: .a.b, a.b and {.a.b}.
var columnPath = regexp.MustCompile(`^\{?\.?([^{}]+)\}?$`)

func newColumns(w io.Writer, spec string) (Printer, error) {
	c := &customColumns{aligner: aligner{w: w}}
	for _, column := range strings.Split(spec, ",") {
		title, path, ok := strings.Cut(column, ":")
		if !ok || title == "" || path == "" {
			return nil, fmt.Errorf("--output: custom-columns: expected TITLE:PATH,..., got %q", column)
		}
		if err := c.add(title, path); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// newColumnsFromFile reads two lines: the titles, and the paths below them.
func newColumnsFromFile(w io.Writer, text string) (Printer, error) {
	rows := strings.Split(strings.TrimSpace(text), "\n")
	if len(rows) != 2 {
		return nil, fmt.Errorf("--output: custom-columns-file: expected a line of titles and a line of paths")
	}
	titles, paths := strings.Fields(rows[0]), strings.Fields(rows[1])
	if len(titles) != len(paths) {
		return nil, fmt.Errorf("--output: custom-columns-file: expected as many titles as paths, got %d and %d", len(titles),
			len(paths))
	}
	c := &customColumns{aligner: aligner{w: w}}
	for i := range titles {
		if err := c.add(titles[i], paths[i]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *customColumns) add(title, path string) error {
	match := columnPath.FindStringSubmatch(path)
	if match == nil {
		return fmt.Errorf("--output: custom-columns: expected a path like .taskRun.name, got %q", path)
	}
	parsed := jsonpath.New(title).AllowMissingKeys(true)
	if err := parsed.Parse("{." + match[1] + "}"); err != nil {
		return fmt.Errorf("--output: custom-columns: %q: %w", path, err)
	}
	c.titles, c.paths = append(c.titles, title), append(c.paths, parsed)
	return nil
}

func (c *customColumns) Start(version.Info, *Trust) error { return nil }
func (c *customColumns) Problem(Problem) error            { return nil }
func (c *customColumns) End(Ending) error                 { return c.aligner.flush() }

// Item implements Printer.
func (c *customColumns) Item(item *Item) error {
	for i := range item.Attempts {
		if err := c.object(&item.Attempts[i]); err != nil {
			return err
		}
	}
	return c.object(item)
}

// object adds a row, and the titles before the first.
func (c *customColumns) object(item any) error {
	if !c.headed {
		c.headed = true
		if err := c.aligner.row(alignedRow{cells: c.titles}); err != nil {
			return err
		}
	}
	return c.row(item)
}

// row adds a row for a TaskRun or an earlier attempt. Attempts have their own rows, so that their verdicts
// are visible.
func (c *customColumns) row(item any) error {
	object, err := safeObject(item)
	if err != nil {
		return err
	}
	var cells []string
	for _, path := range c.paths {
		found, err := path.FindResults(object)
		if err != nil {
			return fmt.Errorf("--output: custom-columns: %w", err)
		}
		var values []string
		for _, list := range found {
			for _, value := range list {
				values = append(values, inColumn(fmt.Sprint(value.Interface())))
			}
		}
		if len(values) == 0 {
			values = []string{"<none>"}
		}
		cells = append(cells, strings.Join(values, ","))
	}
	return c.aligner.row(alignedRow{cells: cells})
}

// inColumn quotes text with spaces, because spaces could look like the gap between two columns.
func inColumn(text string) string {
	if !strings.Contains(text, " ") {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
}
