// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// TableOptions say how much the table shows, and how.
type TableOptions struct {
	Style   Style
	Verbose bool // also the checks that passed, and the results
}

// Table writes the report for people. The verdict stands last, on a line of its own: nothing that a TaskRun holds can come
// after it. With several TaskRuns the totals stand last.
func (r *Report) Table(w io.Writer, options TableOptions) error {
	t := &table{style: options.Style, verbose: options.Verbose}
	for i := range r.Items {
		if i > 0 && (t.verbose || r.Items[i-1].Verdict != verify.Verified || r.Items[i].Verdict != verify.Verified) {
			t.line("")
		}
		t.item(r, &r.Items[i])
	}
	if len(r.Items)+len(r.Errors) > 1 {
		t.line("")
		t.line(r.Summary.String())
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// String says how many TaskRuns have which verdict.
func (s Summary) String() string {
	parts := []string{}
	for _, p := range []struct {
		n    int
		text string
	}{
		{s.Verified, string(verify.Verified)}, {s.Failed, string(verify.Failed)}, {s.Unsigned, string(verify.Unsigned)},
		{s.Indeterminate, string(verify.Indeterminate)}, {s.NoResults, string(verify.NoResults)}, {s.Errors, "not read"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
		}
	}
	return plural(s.TaskRuns, "TaskRun") + ": " + strings.Join(parts, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// table collects lines. Whatever goes into one has been made safe.
type table struct {
	b       strings.Builder
	style   Style
	verbose bool
}

func (t *table) line(text string) { t.b.WriteString(strings.TrimRight(text, " ") + "\n") }

// item shows one TaskRun. Among several, a verified one takes a single line.
func (t *table) item(r *Report, item *verify.Result) {
	if len(r.Items) == 1 || t.verbose || item.Verdict != verify.Verified {
		t.head(r, item)
		t.checks(item.Checks)
		t.proof(item)
	}
	text := fmt.Sprintf("%s %s %s", verdictMark(item.Verdict), Safe(string(item.Verdict)), Safe(item.TaskRun.String()))
	if item.Reason != "" {
		text += ": " + Safe(item.Reason)
	}
	t.line(t.style.verdict(item.Verdict, text))
}

func (t *table) head(r *Report, item *verify.Result) {
	uid := ""
	if item.TaskRun.UID != "" {
		uid = "  UID " + Safe(string(item.TaskRun.UID))
	}
	t.line(t.style.render(t.style.bold, "TaskRun "+Safe(item.TaskRun.String())) + t.style.render(t.style.dim, uid))
	if r.Trust == nil {
		return
	}
	from := "the cluster itself"
	if r.Trust.Source == SourceFile {
		from = Safe(r.Trust.Path)
	}
	t.line(t.style.render(t.style.dim, fmt.Sprintf("  keys of cluster %s, from %s",
		Safe(cmp.Or(r.Trust.Cluster.Name, r.Trust.Cluster.UID)), from)))
}

// Values of Trust.Source.
const (
	SourceFile    = "file"
	SourceCluster = "cluster"
)

// idWidth is the width of the column of check ids.
const idWidth = 16

func (t *table) checks(checks []verify.Check) {
	passed := 0
	for _, c := range checks {
		if c.Status == verify.Pass {
			passed++
		}
		if c.Status == verify.Pass && !t.verbose {
			continue
		}
		t.check(c)
	}
	if passed > 0 && !t.verbose {
		t.line(fmt.Sprintf("  %s %s passed (-v shows them)",
			t.style.status(verify.Pass, mark(verify.Pass)), plural(passed, "check")))
	}
}

func (t *table) check(c verify.Check) {
	subject := ""
	if c.Step != "" {
		subject = Short(c.Step, DefaultWidth) + ": "
	}
	if c.Result != "" {
		subject += Name(c.Result) + ": "
	}
	t.line(fmt.Sprintf("  %s %-*s %s%s", t.style.status(c.Status, mark(c.Status)), idWidth, Safe(string(c.ID)), subject,
		Short(c.Message, 2*DefaultWidth)))
	for _, detail := range []struct{ label, text string }{{"expected", c.Expected}, {"got", c.Got}} {
		if detail.text != "" {
			t.line(fmt.Sprintf("    %-*s %-8s %s", idWidth, "", detail.label, Short(detail.text, DefaultWidth)))
		}
	}
}

// proof shows what a verdict of VERIFIED rests on.
func (t *table) proof(item *verify.Result) {
	if id := item.Identity; id != nil {
		text := "  signed by " + Safe(id.Subject)
		if at := item.Time; at != nil {
			text += " at " + at.At.UTC().Format(time.RFC3339)
		}
		t.line(text + ", " + Safe(string(item.Assurance)))
	}
	if t.verbose {
		for _, r := range item.Results {
			t.line(fmt.Sprintf("  result %s %s sha256:%s", Name(r.Name), Safe(r.Type), Safe(r.SHA256)))
		}
	}
	for _, caveat := range item.Caveats {
		t.line(t.style.render(t.style.dim, "  note: "+Safe(caveat)))
	}
}
