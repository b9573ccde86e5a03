// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// lines collects lines of text for people. All text in them is escaped.
type lines struct {
	b       strings.Builder
	style   Style
	verbose bool
}

func (l *lines) line(text string) { l.b.WriteString(strings.TrimRight(text, " ") + "\n") }

// item shows one TaskRun.
func (l *lines) item(trust *Trust, r *verify.Result) {
	uid := ""
	if r.TaskRun.UID != "" {
		uid = "  UID " + display.Safe(string(r.TaskRun.UID))
	}
	l.line(l.style.render(l.style.bold, "TaskRun "+display.Cell(r.TaskRun.String())) + l.style.render(l.style.dim, uid))
	l.trust(trust, "  keys")
	l.checks(r.Checks)
	l.outcome(r)
	l.proof(r)
	l.covers(r)
	text := fmt.Sprintf("%s %s %s", verdictMark(r.Verdict), verdictText(r.Verdict, r.Unrecorded),
		display.Cell(r.TaskRun.String()))
	if r.Reason != "" {
		text += ": " + display.Safe(r.Reason)
	}
	l.line(l.style.verdict(r.Verdict, text))
}

// verdictText returns the verdict for people, with the proof that the user chose not to require.
func verdictText(verdict verify.Verdict, unrecorded bool) string {
	if unrecorded {
		return display.Safe(string(verdict)) + " (unrecorded)"
	}
	return display.Safe(string(verdict))
}

// trust shows whose keys are used.
func (l *lines) trust(trust *Trust, keys string) {
	if trust == nil {
		return
	}
	from := "the cluster itself"
	if trust.Source == SourceFile {
		from = display.Safe(trust.Path)
	}
	l.line(l.style.render(l.style.dim, fmt.Sprintf("%s of cluster %s, from %s",
		keys, display.Safe(cmp.Or(trust.Cluster.Name, trust.Cluster.UID)), from)))
}

// idWidth is the width of the column of check ids.
const idWidth = 16

func (l *lines) checks(checks []verify.Check) {
	passed := 0
	for _, c := range checks {
		if c.Status == verify.Pass {
			passed++
		}
		if c.Status == verify.Pass && !l.verbose {
			continue
		}
		l.check(c)
	}
	if passed > 0 && !l.verbose {
		l.line(fmt.Sprintf("  %s %s passed (-v shows them)",
			l.style.status(verify.Pass, mark(verify.Pass)), plural(passed, "check")))
	}
}

func (l *lines) check(c verify.Check) {
	subject := ""
	if c.Step != "" {
		subject = display.Short(c.Step, display.DefaultWidth) + ": "
	}
	if c.Result != "" {
		subject += display.Name(c.Result) + ": "
	}
	l.line(fmt.Sprintf("  %s %-*s %s%s", l.style.status(c.Status, mark(c.Status)), idWidth, display.Safe(string(c.ID)),
		subject,
		display.Short(c.Message, 2*display.DefaultWidth)))
	for _, detail := range []struct{ label, text string }{{"expected", c.Expected}, {"got", c.Got}} {
		if detail.text != "" {
			l.line(fmt.Sprintf("    %-*s %-8s %s", idWidth, "", detail.label, display.Short(detail.text, display.DefaultWidth)))
		}
	}
}

// proof shows what a verdict of VERIFIED is based on.
func (l *lines) proof(r *verify.Result) {
	if id := r.Identity; id != nil {
		text := "  signed by " + display.Safe(id.Subject)
		if r.Basis != "" {
			text = "  seen and recorded by " + display.Safe(id.Subject) + " (" + display.Safe(string(r.Basis)) + ")"
		}
		if r.Time != nil {
			text += when(r.Time) + signed(r.Time)
		}
		l.line(text + ", " + display.Safe(string(r.Assurance)))
	} else if r.Time != nil {
		l.line("  signed" + when(r.Time) + signed(r.Time))
	}
	if l.verbose {
		l.record(r.Record)
		for _, digest := range r.Results {
			l.line(fmt.Sprintf("  result %s %s sha256:%s", display.Name(digest.Name), display.Safe(digest.Type),
				display.Safe(digest.SHA256)))
		}
	}
	for _, caveat := range r.Caveats {
		l.line(l.style.render(l.style.dim, "  note: "+display.Safe(caveat)))
	}
}

// outcome shows the TaskRun's own condition, and how many of its steps left evidence.
func (l *lines) outcome(r *verify.Result) {
	outcome := "no condition Succeeded"
	if s := r.Succeeded; s != nil {
		outcome = fmt.Sprintf("Succeeded=%s/%s", display.Safe(s.Status),
			orDash(display.Short(s.Reason, display.DefaultWidth)))
	}
	l.line(fmt.Sprintf("  %s, evidence: %d of %s", outcome, r.SignedSteps, plural(r.Steps, "step")))
}

// notCovered is what a verdict of VERIFIED does not cover.
const notCovered = "images, parameters, workspaces, labels, owners, provenance, times, and what other pods on the " +
	"node did"

// covers shows what VERIFIED covers and what it does not.
func (l *lines) covers(r *verify.Result) {
	if r.Verdict == verify.Verified {
		l.line(l.style.render(l.style.dim, "  not covered: "+notCovered))
	}
}

// when returns the preposition for a time: a record proves by when the evidence existed.
func when(at *verify.SigningTime) string {
	if at.Source == verify.TimeFromRecord {
		return " no later than "
	}
	return " at "
}

// record shows the add-on's record.
func (l *lines) record(r *verify.Recorded) {
	if r == nil {
		return
	}
	text := fmt.Sprintf("  recorded as %s by %s at %s", display.Safe(string(r.Verdict)), display.Safe(r.Recorder),
		r.RecordedAt.UTC().Format(time.RFC3339))
	if len(r.KeyIDs) > 0 {
		text += fmt.Sprintf(", evidence by %s", display.Short(strings.Join(r.KeyIDs, ", "), display.DefaultWidth))
	}
	l.line(text + ", record by key " + display.Safe(r.KeyID) + ", add-on " + display.Safe(r.AddOnVersion))
}
