// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/pipelines"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// PipelineRun is the outcome for one PipelineRun as a whole. Its TaskRuns are separate items.
type PipelineRun struct {
	PipelineRun verify.Ref     `json:"pipelineRun"`
	Verdict     verify.Verdict `json:"verdict"` // the worst of its children and of its own checks
	// VERIFIED, but at least one child only because of --allow-unrecorded
	Unrecorded bool               `json:"unrecorded,omitempty"`
	Reason     string             `json:"reason,omitempty"`  // id of the deciding check, or child
	Message    string             `json:"message,omitempty"` // the reason in one sentence
	Children   []PipelineRunChild `json:"children,omitempty"`
	Checks     []pipelines.Check  `json:"checks"`
	Caveats    []string           `json:"caveats,omitempty"` // what was not proven
}

// PipelineRunChild is a child of a PipelineRun.
type PipelineRunChild struct {
	Kind         string         `json:"kind"`
	Name         string         `json:"name"`
	UID          types.UID      `json:"uid,omitempty"`
	PipelineTask string         `json:"pipelineTask,omitempty"`
	Verdict      verify.Verdict `json:"verdict,omitempty"` // absent if it was not verified
}

// PipelineRunCounts counts PipelineRuns by verdict.
type PipelineRunCounts struct {
	Total         int `json:"total"`
	Verified      int `json:"verified"`
	Failed        int `json:"failed"`
	Unsigned      int `json:"unsigned"`
	Indeterminate int `json:"indeterminate"`
	NoResults     int `json:"noResults"`
}

// AddPipelineRun counts a PipelineRun.
func (s *Summary) AddPipelineRun(p *PipelineRun) {
	if s.PipelineRuns == nil {
		s.PipelineRuns = &PipelineRunCounts{}
	}
	counts := s.PipelineRuns
	counts.Total++
	switch p.Verdict {
	case verify.Verified:
		counts.Verified++
	case verify.Unsigned:
		counts.Unsigned++
	case verify.Indeterminate:
		counts.Indeterminate++
	case verify.NoResults:
		counts.NoResults++
	case verify.Failed:
		counts.Failed++
	default:
		counts.Failed++
	}
}

// String returns how many PipelineRuns have which verdict.
func (c PipelineRunCounts) String() string {
	var parts []string
	for _, p := range []struct {
		n       int
		verdict verify.Verdict
	}{
		{c.Verified, verify.Verified}, {c.Failed, verify.Failed}, {c.Unsigned, verify.Unsigned},
		{c.Indeterminate, verify.Indeterminate}, {c.NoResults, verify.NoResults},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.verdict))
		}
	}
	return plural(c.Total, "PipelineRun") + ": " + strings.Join(parts, ", ")
}

// PipelineRun implements Printer.
func (t *table) PipelineRun(p *PipelineRun) error {
	if err := t.inRows(); err != nil {
		return err
	}
	if err := t.head(); err != nil {
		return err
	}
	row := alignedRow{
		cells:  t.cells(p),
		render: func(cell string) string { return t.options.Style.verdict(p.Verdict, cell) },
	}
	if t.options.Verbose || p.Verdict != verify.Verified || p.Reason != "" {
		row.below = t.below(p)
	}
	return t.add(row)
}

// cells returns the cells of a PipelineRun's row. A PipelineRun has its own verdict, name, reason and UID,
// but no signature.
func (t *table) cells(p *PipelineRun) []string {
	of := map[string]string{
		"VERDICT": verdictMark(p.Verdict) + " " + verdictText(p.Verdict, p.Unrecorded),
		"TASKRUN": "pipelinerun " + display.Cell(p.PipelineRun.String()),
		"REASON":  orDash(display.Cell(p.Reason)), "UID": orDash(display.Cell(string(p.PipelineRun.UID))),
	}
	var cells []string
	for _, c := range t.columns {
		cells = append(cells, orDash(of[c.title]))
	}
	return cells
}

func (t *table) below(p *PipelineRun) string {
	l := lines{style: t.options.Style, verbose: t.options.Verbose}
	if p.Reason == pipelines.ReasonChild {
		l.line("  " + display.Short(p.Message, 2*display.DefaultWidth))
	}
	var checks []verify.Check
	for _, c := range p.Checks {
		c.Step = c.Child
		checks = append(checks, c.Check)
	}
	l.checks(checks)
	for _, caveat := range p.Caveats {
		l.line(l.style.render(l.style.dim, "  note: "+display.Safe(caveat)))
	}
	return l.b.String()
}

// PipelineRun implements Printer. PipelineRuns follow all TaskRuns and are kept until then.
func (s *stream) PipelineRun(p *PipelineRun) error {
	if len(s.pipelineRuns) == maxKeptProblems {
		s.unlisted++
		return nil
	}
	s.pipelineRuns = append(s.pipelineRuns, p)
	return nil
}

func (s *stream) endPipelineRuns() error {
	if len(s.pipelineRuns) == 0 {
		return nil
	}
	if s.unlisted > 0 {
		s.problems = append(s.problems,
			Problem{Message: fmt.Sprintf("%d more PipelineRuns, which are not listed", s.unlisted)})
	}
	return s.field("pipelineRuns", s.pipelineRuns, false)
}

// PipelineRun implements Printer.
func (p *whole) PipelineRun(run *PipelineRun) error {
	p.report.PipelineRuns = append(p.report.PipelineRuns, *run)
	return nil
}

// PipelineRun implements Printer. It evaluates the columns for the PipelineRun.
func (c *customColumns) PipelineRun(p *PipelineRun) error { return c.object(p) }

// PipelineRun implements Printer.
func (p *namePrinter) PipelineRun(run *PipelineRun) error {
	_, err := fmt.Fprintln(p.w, "pipelinerun.tekton.dev/"+display.Safe(run.PipelineRun.Name))
	return err
}
