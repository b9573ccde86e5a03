// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// Printer writes a report piece by piece. Call Start first and End last, exactly once each.
type Printer interface {
	// Start writes what is known before the first TaskRun.
	Start(tool version.Info, trust *Trust) error
	Item(item *Item) error
	PipelineRun(run *PipelineRun) error
	Problem(problem Problem) error
	End(end Ending) error
}

// Ending is what is known after the last TaskRun.
type Ending struct {
	Summary     Summary
	Notes       []string
	Interrupted bool
}

// Options define how to print for people. The machine formats have no options.
type Options struct {
	Style   Style
	Verbose bool // also show the checks that passed, and the results
	// Several means that more than one TaskRun may follow. Without it, the printer keeps the first one until it
	// knows.
	Several bool
	// Now means to write every line at once, even if columns are then not aligned.
	Now bool
}

// Formats lists the names that New accepts. Those that end in = take an argument.
func Formats() []string {
	return []string{
		"table", "wide", "name", "json", "yaml", "jsonpath=", "jsonpath-file=", "go-template=", "go-template-file=",
		"custom-columns=", "custom-columns-file=",
	}
}

// New returns the printer for an output format of kubectl. It returns the errors of the format, so that they
// do not appear only when there is something to print.
func New(format string, w io.Writer, options Options) (Printer, error) {
	name, argument, hasArgument := strings.Cut(format, "=")
	takesArgument := slices.Contains(Formats(), name+"=")
	if !takesArgument && (hasArgument || !slices.Contains(Formats(), name)) {
		return nil, fmt.Errorf("--output: expected one of %s, got %q", strings.Join(Formats(), ", "), format)
	}
	if takesArgument && argument == "" {
		return nil, fmt.Errorf("--output: %s needs a value, as in %s=VALUE", name, name)
	}
	if plain, isFile := strings.CutSuffix(name, "-file"); isFile {
		data, err := os.ReadFile(argument)
		if err != nil {
			return nil, fmt.Errorf("--output: %w", err)
		}
		name, argument = plain, string(data)
		if name == "custom-columns" {
			return newColumnsFromFile(w, argument)
		}
	}
	switch name {
	case "wide":
		return newTable(w, options, true), nil
	case "name":
		return &namePrinter{w: w}, nil
	case "json":
		return newJSON(w), nil
	case "yaml":
		return newYAML(w), nil
	case "jsonpath":
		return newJSONPath(w, argument)
	case "go-template":
		return newGoTemplate(w, argument)
	case "custom-columns":
		return newColumns(w, argument)
	}
	return newTable(w, options, false), nil
}

// namePrinter writes the names of TaskRuns as kubectl does.
type namePrinter struct{ w io.Writer }

func (p *namePrinter) Start(version.Info, *Trust) error { return nil }
func (p *namePrinter) Problem(Problem) error            { return nil }
func (p *namePrinter) End(Ending) error                 { return nil }

func (p *namePrinter) Item(item *Item) error {
	_, err := fmt.Fprintln(p.w, "taskrun.tekton.dev/"+display.Safe(item.TaskRun.Name))
	return err
}
