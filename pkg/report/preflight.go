// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/preflight"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// PreflightKind is the kind of the machine-readable form of a PreflightReport.
const PreflightKind = "PreflightReport"

// PreflightReport is the outcome of one run of preflight. docs/schema has its JSON schema.
type PreflightReport struct {
	APIVersion       string       `json:"apiVersion"`
	Kind             string       `json:"kind"`
	Tool             version.Info `json:"tool"`
	preflight.Report `json:",inline"`
}

// NewPreflight returns the report of a run.
func NewPreflight(r *preflight.Report) *PreflightReport {
	return &PreflightReport{APIVersion: APIVersion, Kind: PreflightKind, Tool: version.Get(), Report: *r}
}

// PreflightFormats lists the names that PreflightPrinter accepts.
func PreflightFormats() []string { return []string{"table", "json", "yaml", "junit", "markdown"} }

// PreflightPrinter returns the function that writes a report in an output format. verbose shows every finding of the
// checks that passed too, and why the others were skipped.
func PreflightPrinter(format string, style Style, verbose bool) (func(*PreflightReport, io.Writer) error, error) {
	switch format {
	case "table":
		return func(r *PreflightReport, w io.Writer) error { return r.table(w, style, verbose) }, nil
	case "json":
		return func(r *PreflightReport, w io.Writer) error { return writeText(w, marshalJSON, r) }, nil
	case "yaml":
		return func(r *PreflightReport, w io.Writer) error { return writeText(w, marshalYAML, r) }, nil
	case "junit":
		return (*PreflightReport).junit, nil
	case "markdown":
		return (*PreflightReport).markdown, nil
	}
	return nil, fmt.Errorf("--output: expected one of %s, got %q", strings.Join(PreflightFormats(), ", "), format)
}

// statusOf returns the status whose mark and colour a state has.
func statusOf(s preflight.State) verify.Status {
	switch s {
	case preflight.Passed:
		return verify.Pass
	case preflight.Warning:
		return verify.Warn
	case preflight.Skipped:
		return verify.Note
	case preflight.Unknown:
		return verify.Unknown
	case preflight.Failed:
	}
	return verify.Fail
}

func (r *PreflightReport) table(w io.Writer, style Style, verbose bool) error {
	t := &lines{style: style}
	t.line(fmt.Sprintf("Kubernetes %s, Tekton %s in namespace %s", display.Safe(orNone(r.Environment.Kubernetes)),
		display.Safe(orNone(r.Environment.Tekton)), display.Safe(orNone(r.Environment.TektonNamespace))))
	t.line("for " + display.Safe(r.Enable))
	for _, group := range preflight.Groups() {
		of := slices.DeleteFunc(slices.Clone(r.Checks), func(c preflight.Result) bool { return c.Group != group })
		if len(of) == 0 {
			continue
		}
		t.line("")
		t.line(style.render(style.bold, strings.ToUpper(string(group[:1]))+string(group[1:])))
		for _, c := range of {
			t.preflightCheck(c, verbose)
		}
	}
	t.line("")
	outcome := outcomeOf(r.Outcome)
	t.line(style.verdict(verdictOf(outcome), fmt.Sprintf("%s %s: %s", mark(outcome), strings.ToUpper(string(r.Outcome)),
		display.Safe(r.String()))))
	_, err := io.WriteString(w, t.b.String())
	return err
}

// outcomeOf returns the status whose mark and colour an outcome has.
func outcomeOf(o preflight.Outcome) verify.Status {
	switch o {
	case preflight.Ready:
		return verify.Pass
	case preflight.Drawbacks:
		return verify.Warn
	case preflight.Undecided:
		return verify.Unknown
	case preflight.NotReady:
	}
	return verify.Fail
}

func orNone(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}

// preflightCheck shows a check in one line, and below it what to do about it.
func (t *lines) preflightCheck(c preflight.Result, verbose bool) {
	state := statusOf(c.State)
	text := display.Safe(c.Title)
	if c.State == preflight.Skipped {
		text += t.style.render(t.style.dim, " (skipped: "+display.Short(c.Reason, 2*display.DefaultWidth)+")")
	}
	t.line(fmt.Sprintf("  %s %s  %s", t.style.status(state, mark(state)), display.Safe(string(c.ID)), text))
	bad := c.State != preflight.Passed && c.State != preflight.Skipped
	for _, f := range c.Findings {
		if !verbose && f.Status == verify.Pass {
			continue
		}
		t.line("           " + display.Short(messageOf(f), 8*display.DefaultWidth))
		for _, d := range []struct{ label, text string }{
			{"expected", f.Expected}, {"got", f.Got}, {"next", f.Next},
		} {
			if d.text != "" {
				t.line(fmt.Sprintf("           %-8s %s", d.label, display.Short(d.text, 8*display.DefaultWidth)))
			}
		}
	}
	if bad {
		t.line(fmt.Sprintf("           %-8s %s", "why", display.Safe(c.Why)))
		t.line(fmt.Sprintf("           %-8s %s", "docs", t.style.render(t.style.dim, display.Safe(c.Docs))))
	}
}

// messageOf returns what was found, with the object that is not as it should be.
func messageOf(f preflight.Finding) string {
	if f.Object == nil || f.Status == verify.Pass {
		return f.Message
	}
	return f.Object.String() + ": " + f.Message
}

// junitSuite is a test suite in the format of JUnit that CI systems read.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string       `xml:"classname,attr"`
	Name    string       `xml:"name,attr"`
	Seconds string       `xml:"time,attr"`
	Failure *junitDetail `xml:"failure"`
	Error   *junitDetail `xml:"error"`
	Skipped *junitDetail `xml:"skipped"`
	Output  string       `xml:"system-out,omitempty"`
}

type junitDetail struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junit writes a failed check as a failure, an unknown one as an error, and a warning as the output of a passed one.
func (r *PreflightReport) junit(w io.Writer) error {
	suite := junitSuite{
		Name: "preflight " + display.Safe(r.Backend), Tests: len(r.Checks), Failures: r.Summary.Failed,
		Errors: r.Summary.Unknown, Skipped: r.Summary.Skipped,
	}
	for _, c := range r.Checks {
		one := junitCase{
			Class: "preflight." + display.Safe(string(c.Group)), Name: display.Safe(string(c.ID) + " " + c.Title),
			Seconds: seconds(c.Milliseconds),
		}
		detail := &junitDetail{Message: display.Safe(c.Title), Text: findingsText(c)}
		switch c.State {
		case preflight.Passed:
		case preflight.Warning:
			one.Output = detail.Text
		case preflight.Skipped:
			one.Skipped = &junitDetail{Message: display.Safe(c.Reason)}
		case preflight.Unknown:
			one.Error = detail
		case preflight.Failed:
			one.Failure = detail
		default:
			one.Failure = detail
		}
		suite.Cases = append(suite.Cases, one)
	}
	return suite.write(w)
}

func (j *junitSuite) write(w io.Writer) error {
	text, err := xml.MarshalIndent(j, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}

// findingsText returns the findings of a check for people, one on each line.
func findingsText(c preflight.Result) string {
	var b strings.Builder
	for _, f := range c.Findings {
		for _, part := range []struct{ label, text string }{
			{"", messageOf(f)}, {"expected: ", f.Expected}, {"got: ", f.Got}, {"next: ", f.Next},
		} {
			if part.text != "" {
				b.WriteString(part.label + display.Safe(part.text) + "\n")
			}
		}
	}
	b.WriteString("docs: " + display.Safe(c.Docs) + "\n")
	return b.String()
}

// markdown writes a table for a comment or a summary of CI.
func (r *PreflightReport) markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Preflight: %s\n\n%s\n\n| check | state | what was found | next |\n|---|---|---|---|\n",
		markdownText(string(r.Outcome)), markdownText(r.String()))
	for _, c := range r.Checks {
		found, next := c.Reason, ""
		for _, f := range c.Findings {
			found = strings.TrimSpace(found + " " + messageOf(f))
			next = strings.TrimSpace(next + " " + f.Next)
		}
		fmt.Fprintf(&b, "| [%s](%s) %s | %s | %s | %s |\n", markdownText(string(c.ID)), c.Docs, markdownText(c.Title),
			markdownText(string(c.State)), markdownText(found), markdownText(next))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// markdownText escapes what Markdown and HTML would interpret.
func markdownText(s string) string {
	return strings.NewReplacer(
		`\`, `\\`, "|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`,
		"#", `\#`, "!", `\!`, "@", "&#64;", "~", `\~`, ":", "&#58;",
	).Replace(display.Safe(s))
}
