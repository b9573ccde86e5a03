// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// StatusKind is the kind of the machine-readable form of a StatusReport.
const StatusKind = "StatusReport"

// StatusReport is the outcome of one run of status. docs/schema has its JSON schema.
type StatusReport struct {
	APIVersion    string       `json:"apiVersion"`
	Kind          string       `json:"kind"`
	Tool          version.Info `json:"tool"`
	status.Status `json:",inline"`
}

// NewStatus returns the report of a status.
func NewStatus(s *status.Status) *StatusReport {
	return &StatusReport{APIVersion: APIVersion, Kind: StatusKind, Tool: version.Get(), Status: *s}
}

// StatusFormats lists the names that StatusPrinter accepts. Those that end in = take an argument.
func StatusFormats() []string {
	return []string{
		"table", "name", "json", "yaml", "jsonpath=", "jsonpath-file=", "go-template=", "go-template-file=",
	}
}

// StatusPrinter returns the function that writes a report in an output format. It returns the errors of the
// format.
func StatusPrinter(format string, options StatusOptions) (func(*StatusReport, io.Writer) error, error) {
	name, argument, hasArgument := strings.Cut(format, "=")
	takesArgument := slices.Contains(StatusFormats(), name+"=")
	switch {
	case !takesArgument && (hasArgument || !slices.Contains(StatusFormats(), name)):
		return nil, fmt.Errorf("--output: expected one of %s, got %q", strings.Join(StatusFormats(), ", "), format)
	case takesArgument && argument == "":
		return nil, fmt.Errorf("--output: %s needs a value, as in %s=VALUE", name, name)
	}
	if plain, isFile := strings.CutSuffix(name, "-file"); isFile {
		data, err := os.ReadFile(argument)
		if err != nil {
			return nil, fmt.Errorf("--output: %w", err)
		}
		name, argument = plain, string(data)
	}
	switch name {
	case "name":
		return (*StatusReport).names, nil
	case "json":
		return func(r *StatusReport, w io.Writer) error { return writeText(w, marshalJSON, r) }, nil
	case "yaml":
		return func(r *StatusReport, w io.Writer) error { return writeText(w, marshalYAML, r) }, nil
	case "jsonpath", "go-template":
		return templated(name, argument)
	}
	return func(r *StatusReport, w io.Writer) error { return r.table(w, options) }, nil
}

// writeText writes a report as text for machines.
func writeText(w io.Writer, marshal func(any, string) (string, error), r any) error {
	text, err := marshal(r, "")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, err = io.WriteString(w, strings.TrimSpace(text)+"\n")
	return err
}

// names writes the names of objects that are not as they should be, in kubectl's form, each once.
func (r *StatusReport) names(w io.Writer) error {
	var written []string
	for _, c := range r.Checks {
		if c.Object == nil || c.Status == verify.Pass || c.Status == verify.Note ||
			slices.Contains(written, c.Object.Resource()) {
			continue
		}
		written = append(written, c.Object.Resource())
		if _, err := fmt.Fprintln(w, display.Safe(c.Object.Resource())); err != nil {
			return err
		}
	}
	return nil
}

// templated applies one of kubectl's templates to the report, after escaping its strings.
func templated(kind, template string) (func(*StatusReport, io.Writer) error, error) {
	var printer printers.ResourcePrinter
	if kind == "jsonpath" {
		p, err := printers.NewJSONPathPrinter(template)
		if err != nil {
			return nil, fmt.Errorf("--output: %w", err)
		}
		p.AllowMissingKeys(true)
		printer = p
	} else {
		p, err := printers.NewGoTemplatePrinter([]byte(template))
		if err != nil {
			return nil, fmt.Errorf("--output: %w", err)
		}
		p.AllowMissingKeys(true)
		printer = p
	}
	return func(r *StatusReport, w io.Writer) error {
		object, err := safeObject(r)
		if err != nil {
			return err
		}
		fields, _ := object.(map[string]any)
		if err := printer.PrintObj(&unstructured.Unstructured{Object: fields}, w); err != nil {
			return fmt.Errorf("--output: %w", err)
		}
		return nil
	}, nil
}
