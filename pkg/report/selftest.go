// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/selftest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// SelftestKind is the kind of the machine-readable form of a SelftestReport.
const SelftestKind = "SelftestReport"

// SelftestReport is the outcome of one run of selftest. docs/schema has its JSON schema.
type SelftestReport struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Tool       version.Info      `json:"tool"`
	Outcome    selftest.State    `json:"outcome"`         // passed or failed
	Error      string            `json:"error,omitempty"` // why nothing was tested
	Namespaces []selftest.Result `json:"namespaces"`
}

// NewSelftest returns the report of a run, or of an error that kept it from running.
func NewSelftest(results []selftest.Result, err error) *SelftestReport {
	r := &SelftestReport{
		APIVersion: APIVersion, Kind: SelftestKind, Tool: version.Get(), Outcome: selftest.Failed,
		Namespaces: append([]selftest.Result{}, results...),
	}
	if err != nil {
		r.Error = err.Error()
	} else if selftest.AllPassed(results) {
		r.Outcome = selftest.Passed
	}
	return r
}

// SelftestFormats lists the names that SelftestPrinter accepts.
func SelftestFormats() []string { return []string{"table", "json", "yaml", "junit"} }

// SelftestPrinter returns the function that writes a report in an output format.
func SelftestPrinter(format string, style Style) (func(*SelftestReport, io.Writer) error, error) {
	switch format {
	case "table":
		return func(r *SelftestReport, w io.Writer) error { return r.table(w, style) }, nil
	case "json":
		return func(r *SelftestReport, w io.Writer) error { return writeText(w, marshalJSON, r) }, nil
	case "yaml":
		return func(r *SelftestReport, w io.Writer) error { return writeText(w, marshalYAML, r) }, nil
	case "junit":
		return (*SelftestReport).junit, nil
	}
	return nil, fmt.Errorf("--output: expected one of %s, got %q", strings.Join(SelftestFormats(), ", "), format)
}

// stateOf returns the status whose mark and colour a state has.
func stateOf(s selftest.State) verify.Status {
	switch s {
	case selftest.Passed:
		return verify.Pass
	case selftest.Skipped:
		return verify.Note
	case selftest.Failed:
	}
	return verify.Fail
}

func (r *SelftestReport) table(w io.Writer, style Style) error {
	t := &lines{style: style}
	passed := 0
	for _, n := range r.Namespaces {
		if n.State == selftest.Passed {
			passed++
		}
		t.line(style.render(style.bold, "Namespace "+display.Safe(n.Namespace)))
		for _, s := range n.Steps {
			t.selftestStep(s)
		}
		t.line("")
	}
	state := stateOf(r.Outcome)
	text := fmt.Sprintf("%s %s: %d of %d namespaces sign and verify", mark(state), strings.ToUpper(string(r.Outcome)),
		passed, len(r.Namespaces))
	t.line(style.verdict(verdictOf(state), text))
	_, err := io.WriteString(w, t.b.String())
	return err
}

func (t *lines) selftestStep(s selftest.Step) {
	state := stateOf(s.State)
	text := s.ID.Title()
	switch s.State {
	case selftest.Passed:
		text += fmt.Sprintf(" (%s s)", seconds(s.Milliseconds))
	case selftest.Skipped:
		text += " (skipped)"
	case selftest.Failed:
	}
	t.line(fmt.Sprintf("  %s %s", t.style.status(state, mark(state)), text))
	for _, d := range []struct{ label, text string }{
		{"", s.Message}, {"expected ", s.Expected}, {"got      ", s.Got}, {"next     ", s.Next},
	} {
		if d.text != "" {
			t.line("      " + d.label + display.Short(d.text, 8*display.DefaultWidth))
		}
	}
}

func seconds(milliseconds int) string {
	return fmt.Sprintf("%d.%03d", milliseconds/1000, milliseconds%1000)
}

// junit writes a test suite in which each step in each namespace is a test case.
func (r *SelftestReport) junit(w io.Writer) error {
	suite := junitSuite{Name: "selftest"}
	if r.Error != "" {
		suite.Errors = 1
		suite.Cases = append(suite.Cases, junitCase{
			Class: "selftest", Name: "the cluster can be tested", Error: &junitDetail{Message: display.Safe(r.Error)},
		})
	}
	for _, n := range r.Namespaces {
		for _, s := range n.Steps {
			suite.add(n.Namespace, s)
		}
	}
	suite.Tests = len(suite.Cases)
	return suite.write(w)
}

func (j *junitSuite) add(namespace string, s selftest.Step) {
	one := junitCase{
		Class: "selftest." + display.Safe(namespace), Name: s.ID.Title(),
		Seconds: seconds(s.Milliseconds),
	}
	switch s.State {
	case selftest.Passed:
		one.Output = display.Safe(s.Message)
	case selftest.Skipped:
		j.Skipped++
		one.Skipped = &junitDetail{Message: display.Safe(s.Message)}
	case selftest.Failed:
		j.Failures++
		text := fmt.Sprintf("expected: %s\ngot: %s\nnext: %s\n", display.Safe(s.Expected), display.Safe(s.Got),
			display.Safe(s.Next))
		one.Failure = &junitDetail{Message: display.Safe(s.Message), Text: text}
	}
	j.Cases = append(j.Cases, one)
}
