// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// table shows one TaskRun with its checks, and its verdict on the last line, so that no text of the TaskRun
// can follow it. It shows several TaskRuns in a row each, with the verdict first and the checks of interest
// below the row. The totals come last.
type table struct {
	w       io.Writer
	options Options
	columns []column
	aligner aligner
	trust   *Trust
	first   *Item // kept until it is known whether it is the only one
	several bool
	headed  bool
	held    []Problem // kept until the first TaskRun
}

func newTable(w io.Writer, options Options, wide bool) *table {
	t := &table{w: w, options: options, columns: columnsOf(wide), aligner: aligner{w: w}, several: options.Several}
	if options.Now {
		t.aligner.widths = slices.Clone(usualWidths)
	}
	return t
}

// usualWidths are the widths of the first columns if rows must be written at once.
var usualWidths = []int{len("? INDETERMINATE"), 40, 14, 17, 20}

// Start implements Printer.
func (t *table) Start(_ version.Info, trust *Trust) error {
	t.trust = trust
	return nil
}

// Item implements Printer.
func (t *table) Item(item *Item) error {
	if !t.several && t.first == nil && len(item.Attempts)+len(t.held) == 0 {
		t.first = item
		return nil
	}
	if err := t.inRows(); err != nil {
		return err
	}
	return t.item(item)
}

// inRows switches to showing rows.
func (t *table) inRows() error {
	t.several = true
	held := t.held
	t.held = nil
	for _, p := range held {
		if err := t.errorRow(p); err != nil {
			return err
		}
	}
	if t.first == nil {
		return nil
	}
	first := t.first
	t.first = nil
	return t.item(first)
}

// item adds the rows of a TaskRun and its earlier attempts.
func (t *table) item(item *Item) error {
	for i := range item.Attempts {
		if err := t.row(&item.Attempts[i].Result, fmt.Sprintf(" (attempt %d)", item.Attempts[i].Number)); err != nil {
			return err
		}
	}
	return t.row(&item.Result, "")
}

func (t *table) row(r *verify.Result, suffix string) error {
	if err := t.head(); err != nil {
		return err
	}
	row := alignedRow{render: func(cell string) string { return t.options.Style.verdict(r.Verdict, cell) }}
	for _, c := range t.columns {
		row.cells = append(row.cells, c.cell(r, suffix))
	}
	l := lines{style: t.options.Style, verbose: t.options.Verbose}
	if t.options.Verbose || r.Verdict != verify.Verified {
		l.checks(r.Checks)
	}
	failed := r.Succeeded != nil && r.Succeeded.Status != "True" // a TaskRun that failed can have good evidence
	if t.options.Verbose || r.Verdict != verify.Verified || r.SignedSteps < r.Steps || failed {
		l.outcome(r)
	}
	if t.options.Verbose || r.Verdict != verify.Verified {
		l.proof(r)
	}
	row.below = l.b.String()
	return t.add(row)
}

// head writes the column titles above the first row.
func (t *table) head() error {
	if t.headed {
		return nil
	}
	t.headed = true
	l := lines{style: t.options.Style}
	l.trust(t.trust, "Keys")
	if _, err := io.WriteString(t.w, l.b.String()); err != nil {
		return err
	}
	row := alignedRow{render: func(cell string) string { return t.options.Style.render(t.options.Style.bold, cell) }}
	for _, c := range t.columns {
		row.cells = append(row.cells, c.title)
	}
	return t.add(row)
}

func (t *table) add(row alignedRow) error {
	if err := t.aligner.row(row); err != nil || !t.options.Now {
		return err
	}
	return t.aligner.flush()
}

// Problem implements Printer. If there is no TaskRun at all, the message on standard error is enough.
func (t *table) Problem(p Problem) error {
	if !t.several && t.first == nil {
		t.held = append(t.held, p)
		return nil
	}
	if err := t.inRows(); err != nil {
		return err
	}
	return t.errorRow(p)
}

func (t *table) errorRow(p Problem) error {
	if err := t.head(); err != nil {
		return err
	}
	style := t.options.Style
	return t.add(alignedRow{
		cells:  []string{"✗ ERROR", display.Cell(p.Source), "input"},
		render: func(cell string) string { return style.render(style.bad, cell) },
	})
}

// End implements Printer.
func (t *table) End(end Ending) error {
	if err := t.aligner.flush(); err != nil {
		return err
	}
	l := lines{style: t.options.Style, verbose: t.options.Verbose}
	for _, note := range end.Notes {
		l.line("note: " + display.Short(note, 2*display.DefaultWidth))
	}
	switch {
	case t.first != nil:
		l.item(t.trust, &t.first.Result)
	case t.several && (end.Summary.TaskRuns+end.Summary.Errors > 0 || end.Summary.PipelineRuns != nil):
		l.line("")
		if end.Summary.Verified > 0 {
			l.line("VERIFIED does not cover " + notCovered)
		}
		l.line(interrupted(end.Interrupted) + end.Summary.String())
	}
	_, err := io.WriteString(t.w, l.b.String())
	return err
}

func interrupted(yes bool) string {
	if yes {
		return "Interrupted. Until then: "
	}
	return ""
}

// column is one column of the rows.
type column struct {
	title string
	cell  func(r *verify.Result, suffix string) string
}

// columnsOf returns the columns. The verdict is the first one, so that no text of a TaskRun comes before it.
func columnsOf(wide bool) []column {
	columns := []column{
		{"VERDICT", func(r *verify.Result, _ string) string {
			return verdictMark(r.Verdict) + " " + verdictText(r.Verdict, r.Unrecorded)
		}},
		{"TASKRUN", func(r *verify.Result, suffix string) string { return display.Cell(r.TaskRun.String()) + suffix }},
		{"REASON", func(r *verify.Result, _ string) string { return orDash(display.Cell(r.Reason)) }},
		{"ASSURANCE", func(r *verify.Result, _ string) string { return orDash(display.Cell(string(r.Assurance))) }},
		{"SIGNED", func(r *verify.Result, _ string) string { return signed(r.Time) }},
	}
	if !wide {
		return columns
	}
	return append(columns,
		column{"TIME-SOURCE", func(r *verify.Result, _ string) string {
			if r.Time == nil {
				return "-"
			}
			return orDash(display.Cell(r.Time.Source))
		}},
		column{"BACKEND", func(r *verify.Result, _ string) string { return orDash(display.Cell(string(r.Backend))) }},
		column{"FORMAT", func(r *verify.Result, _ string) string { return orDash(display.Cell(string(r.Format))) }},
		column{"IDENTITY", func(r *verify.Result, _ string) string {
			if r.Identity == nil {
				return "-"
			}
			return orDash(display.Cell(r.Identity.Subject))
		}},
		column{"UID", func(r *verify.Result, _ string) string { return orDash(display.Cell(string(r.TaskRun.UID))) }},
	)
}

func orDash(text string) string { return cmp.Or(text, "-") }

// signed shows when a TaskRun was signed, and whether that time is proven.
func signed(at *verify.SigningTime) string {
	if at == nil {
		return "-"
	}
	text := at.At.UTC().Format(time.RFC3339)
	if !at.Trusted {
		text += " (untrusted time)"
	}
	return text
}
