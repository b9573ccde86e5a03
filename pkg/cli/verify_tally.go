// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/bulk"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// tally takes findings in their order, prints them and adds them up. It keeps none of them.
type tally struct {
	e        *env
	printer  report.Printer
	progress *progress
	summary  report.Summary
	code     int            // the strongest exit code of errors so far
	notes    map[string]int // the first notes, and how often each came
	more     int            // how many other notes came
	verified int            // TaskRuns themselves, without their attempts
	unread   error          // why the cluster's settings of signing tokens are not known
	tokens   int            // TaskRuns and attempts that failed because of their tokens
}

func newTally(e *env, o *verifyOptions, args []string) (*tally, error) {
	p := newProgress(e)
	printer, err := report.New(o.output, p.around(e.Out), report.Options{
		Style: e.color.style(e.Out, os.Getenv), Verbose: o.verbose,
		Several: o.several(args), Now: o.watch,
	})
	return &tally{e: e, printer: printer, progress: p, notes: map[string]int{}}, err
}

// start prints where the keys come from, and warnings about them.
func (t *tally) start(source trusted) error {
	t.unread = source.unread
	for _, warning := range source.warnings {
		fmt.Fprintln(t.e.ErrOut, "warning: "+display.Short(warning, maxErrorText))
		t.note(warning)
	}
	return t.printer.Start(version.Get(), source.report)
}

// Settings of the garbage collector while verify reads many TaskRuns. Little memory outlives its TaskRun, so fewer
// collections save a quarter of the time. The limit makes it collect in time when objects are large.
const (
	collectAt      = 400 // percent of what is alive
	collectorLimit = 160 << 20
)

// all verifies every subject on all cores, and adds the findings in order.
func (t *tally) all(ctx context.Context, v *runs.Verifier, subjects iter.Seq[runs.Subject]) error {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(collectAt))
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(collectorLimit))
	}
	for f := range bulk.Ordered(ctx, subjects, runtime.GOMAXPROCS(0), v.Verify) {
		if err := t.add(f); err != nil {
			return err
		}
	}
	return nil
}

// add counts and prints a finding. The only possible error is that of printing.
func (t *tally) add(f runs.Finding) error {
	switch {
	case f.Note != "":
		t.note(f.Note)
	case errors.Is(f.Err, context.Canceled):
		// the end of the report mentions it
	case f.Err != nil:
		t.summary.Errors++
		t.code = stronger(t.code, exitCode(f.Err))
		if t.summary.Errors > maxShownErrors {
			return nil // the summary counts them
		}
		t.progress.clear()
		t.e.printError(f.Err)
		return t.printer.Problem(report.Problem{Source: f.Place, Message: f.Err.Error()})
	case f.PipelineRun != nil:
		t.summary.AddPipelineRun(f.PipelineRun)
		return t.printer.PipelineRun(f.PipelineRun)
	default:
		t.countTokens(f.Item)
		t.summary.Add(f.Item)
		if f.Item.Verdict == verify.Verified {
			t.verified++
		}
		t.progress.count(t.summary.TaskRuns)
		return t.printer.Item(f.Item)
	}
	return nil
}

// The input decides how many errors and notes there are. These are shown, and the others only counted.
const (
	maxShownErrors = 1000
	maxShownNotes  = 100
)

// note counts a note.
func (t *tally) note(text string) {
	if _, known := t.notes[text]; !known && len(t.notes) >= maxShownNotes {
		t.more++
		return
	}
	t.notes[text]++
}

// countTokens counts what may have failed because the cluster's settings differ from the defaults.
func (t *tally) countTokens(item *report.Item) {
	if isAboutTokens(&item.Result) {
		t.tokens++
	}
	for i := range item.Attempts {
		if isAboutTokens(&item.Attempts[i].Result) {
			t.tokens++
		}
	}
}

// explainTokens adds the hint that tokens may fail because the cluster's settings could not be read.
func (t *tally) explainTokens() {
	if t.unread == nil || t.tokens == 0 {
		return
	}
	fmt.Fprintf(t.e.ErrOut, "note: the cluster's settings of signing tokens are not known, "+
		"and the defaults were used: %s: "+
		"if the cluster has other values, name them with --audience and --token-lifetime\n",
		display.Short(t.unread.Error(), maxErrorText))
}

// end ends the report, and returns the exit code as an error without text.
func (t *tally) end(ctx context.Context, err error) error {
	t.progress.stop()
	t.explainTokens()
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if n := t.summary.Errors - maxShownErrors; n > 0 {
		fmt.Fprintf(t.e.ErrOut, "error: %d more errors, which are not shown\n", n)
		problem := report.Problem{Message: fmt.Sprintf("%d more errors, which are not listed", n)}
		if err := t.printer.Problem(problem); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	interrupted := ctx.Err() != nil
	if err := t.printer.End(report.Ending{Summary: t.summary, Notes: t.said(), Interrupted: interrupted}); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	code := stronger(t.code, exitOfSummary(t.summary, t.verified))
	if interrupted {
		return withExit(stronger(code, ExitIndeterminate),
			fmt.Errorf("interrupted after %d TaskRuns: the others were not verified", t.summary.TaskRuns))
	}
	if code == ExitOK {
		return nil
	}
	return withExit(code, nil)
}

// said lists the notes, each with how often it came.
func (t *tally) said() []string {
	var notes []string
	for _, note := range slices.Sorted(maps.Keys(t.notes)) {
		if n := t.notes[note]; n > 1 {
			note = fmt.Sprintf("%d × %s", n, note)
		}
		notes = append(notes, note)
	}
	if t.more > 0 {
		notes = append(notes, fmt.Sprintf("%d more notes", t.more))
	}
	return notes
}

// exitOfSummary is the exit code for all verdicts. verified is how many TaskRuns are VERIFIED themselves; an earlier
// attempt does not count for its TaskRun. If that is zero, nothing was verified, and the code is not 0. So NO_RESULTS
// is neutral only beside VERIFIED.
func exitOfSummary(s report.Summary, verified int) int {
	code := ExitOK
	if verified == 0 {
		code = ExitUnsigned
	}
	var runs report.PipelineRunCounts
	if s.PipelineRuns != nil {
		runs = *s.PipelineRuns
	}
	for _, v := range []struct {
		n       int
		verdict verify.Verdict
	}{
		{s.Unsigned + runs.Unsigned, verify.Unsigned}, {s.Indeterminate + runs.Indeterminate, verify.Indeterminate},
		{s.Failed + runs.Failed, verify.Failed},
	} {
		if v.n > 0 {
			code = stronger(code, exitOf(v.verdict))
		}
	}
	return code
}

// exitOf is the exit code of a verdict.
func exitOf(v verify.Verdict) int {
	switch v {
	case verify.Verified:
		return ExitOK
	case verify.Unsigned, verify.NoResults:
		return ExitUnsigned
	case verify.Indeterminate:
		return ExitIndeterminate
	case verify.Failed:
		return ExitFailed
	}
	return ExitFailed
}
