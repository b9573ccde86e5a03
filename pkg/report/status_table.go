// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// StatusOptions define how to show a StatusReport to people.
type StatusOptions struct {
	Style Style
	Now   time.Time // ages are relative to it; zero: show times without ages
}

// statusTable shows the parts one after the other, each with its checks below it. The outcome is the last
// line.
type statusTable struct {
	lines
	now time.Time
}

func (r *StatusReport) table(w io.Writer, options StatusOptions) error {
	t := &statusTable{lines: lines{style: options.Style}, now: options.Now}
	for _, part := range status.Parts() {
		t.part(r, part)
	}
	text := fmt.Sprintf("%s %s: %s", mark(outcomeStatus(r.Outcome)), strings.ToUpper(string(r.Outcome)), &r.Status)
	t.line(t.style.verdict(verdictOf(outcomeStatus(r.Outcome)), text))
	_, err := io.WriteString(w, t.b.String())
	return err
}

// outcomeStatus returns the check status whose mark an outcome has.
func outcomeStatus(o status.Outcome) verify.Status {
	switch o {
	case status.Healthy:
		return verify.Pass
	case status.Warnings, status.Off:
		return verify.Warn
	case status.Unknown:
		return verify.Unknown
	case status.Broken:
		return verify.Fail
	}
	return verify.Fail
}

// verdictOf returns the verdict whose colour a status has.
func verdictOf(s verify.Status) verify.Verdict {
	switch s {
	case verify.Pass:
		return verify.Verified
	case verify.Warn, verify.Note, verify.Missing:
		return verify.Unsigned
	case verify.Unknown:
		return verify.Indeterminate
	case verify.Fail:
		return verify.Failed
	}
	return verify.Failed
}

// part shows the heading, the facts and the checks of a part. It shows nothing if there are none.
func (t *statusTable) part(r *StatusReport, part status.Part) {
	var checks []status.Check
	for _, c := range r.Checks {
		if c.Part == part {
			checks = append(checks, c)
		}
	}
	heading := ""
	switch part {
	case status.PartCluster:
		heading = "Cluster"
	case status.PartSettings:
		heading = settingsHeading(r.Settings)
	case status.PartAddOn:
		heading = addOnHeading(r.AddOn)
	case status.PartInstallation:
		heading = "Installation"
	case status.PartTekton:
		heading = tektonHeading(r.Environment)
	case status.PartVerdicts:
		heading = "Verdicts"
	}
	facts := part == status.PartSettings && r.Settings != nil || part == status.PartVerdicts && r.Verdicts != nil
	if len(checks) == 0 && !facts {
		return
	}
	t.line(t.style.render(t.style.bold, heading))
	switch {
	case part == status.PartSettings && facts:
		t.settings(r.Settings)
	case part == status.PartVerdicts && facts:
		t.verdicts(r.Verdicts)
	}
	for _, c := range checks {
		t.statusCheck(c)
	}
	t.line("")
}

func settingsHeading(s *status.Settings) string {
	if s == nil {
		return "Settings"
	}
	return "Settings: ConfigMap " + display.Safe(s.Namespace) + "/" + display.Safe(s.ConfigMap)
}

func addOnHeading(a *status.AddOn) string {
	if a == nil {
		return "Add-on"
	}
	return fmt.Sprintf("Add-on: Deployment in namespace %s, %s", display.Safe(a.Namespace),
		display.Short(cmp.Or(a.ControllerImage, "no image"), display.DefaultWidth))
}

func tektonHeading(v status.Versions) string {
	return fmt.Sprintf("Tekton: namespace %s, Kubernetes %s", display.Safe(v.TektonNamespace),
		display.Safe(cmp.Or(v.Kubernetes, "of unknown version")))
}

// labelWidth is the width of the column of names.
const labelWidth = 19

// maxModes is how many namespaces with their own mode are shown.
const maxModes = 20

func (t *statusTable) settings(s *status.Settings) {
	for _, value := range s.Values {
		where := "key " + value.Key
		if value.Default {
			where = "default (" + where + ")"
		}
		t.line(fmt.Sprintf("    %-*s %-29s  %s", labelWidth-2, display.Safe(value.Name),
			display.Short(value.Value, display.DefaultWidth), t.style.render(t.style.dim, display.Safe(where))))
		if value.Name == "scope" && s.Namespaces != nil {
			n := s.Namespaces
			t.line(fmt.Sprintf("    %-*s %s: %d audit, %d enforce", labelWidth-2, "", plural(n.InScope, "namespace"), n.Audit,
				n.Enforce))
			t.modes(n.Other)
		}
	}
}

// modes shows the namespaces with their own mode.
func (t *statusTable) modes(other []status.NamespaceMode) {
	for i, m := range other {
		if i == maxModes {
			t.line(fmt.Sprintf("    %-*s and %d more with their own mode", labelWidth-2, "", len(other)-maxModes))
			return
		}
		t.line(fmt.Sprintf("    %-*s %s in %s  %s", labelWidth-2, "", display.Safe(m.Enforcement), display.Cell(m.Namespace),
			t.style.render(t.style.dim, "label tekton-sign.dev/enforcement")))
	}
}

func (t *statusTable) statusCheck(c status.Check) {
	text := display.Short(c.Message, 2*display.DefaultWidth)
	if c.Object != nil && c.Status != verify.Pass {
		text = display.Short(c.Object.String(), display.DefaultWidth) + ": " + text
	}
	t.line(fmt.Sprintf("  %s %-*s %s", t.style.status(c.Status, mark(c.Status)), labelWidth-2, display.Safe(string(c.ID)),
		text))
	for _, detail := range []struct {
		label, text string
		width       int
	}{
		{"field", c.Field, display.DefaultWidth}, {"expected", c.Expected, display.DefaultWidth}, {"got", c.Got,
			display.DefaultWidth}, {"next", c.Next, 5 * display.DefaultWidth},
	} {
		if detail.text != "" {
			t.line(fmt.Sprintf("    %-*s %-8s %s", labelWidth-2, "", detail.label, display.Short(detail.text, detail.width)))
		}
	}
}

func (t *statusTable) verdicts(v *status.Verdicts) {
	t.line("    " + totals(v))
	rows := aligner{w: &t.b}
	for _, one := range v.Newest {
		at := one.At.UTC().Format(time.RFC3339)
		if !t.now.IsZero() {
			at += " (" + duration.HumanDuration(t.now.Sub(one.At)) + " ago)"
		}
		_ = rows.row(alignedRow{ // a strings.Builder returns no errors
			cells: []string{
				"    " + verdictMark(one.Verdict) + " " + display.Safe(string(one.Verdict)),
				display.Cell(one.Namespace + "/" + one.Name), at,
				display.Short(strings.TrimPrefix(one.Message, string(one.Verdict)+": "), display.DefaultWidth),
			},
			render: func(cell string) string { return t.style.verdict(one.Verdict, cell) },
		})
	}
	_ = rows.flush()
}

// totals returns how many TaskRuns have which verdict, and whether there are more TaskRuns.
func totals(v *status.Verdicts) string {
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{
		{v.Verified, string(verify.Verified)}, {v.Failed, string(verify.Failed)}, {v.Unsigned, string(verify.Unsigned)},
		{v.Indeterminate, string(verify.Indeterminate)}, {v.NotJudged, "completed without a verdict"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
		}
	}
	text := plural(v.Looked, "TaskRun") + " examined"
	if v.More {
		text = fmt.Sprintf("the first %d TaskRuns examined, by namespace and name; there are more", v.Looked)
	}
	if len(parts) == 0 {
		return text + ": no verdict"
	}
	return text + ": " + strings.Join(parts, ", ")
}
