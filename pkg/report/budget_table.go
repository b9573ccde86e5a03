// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/budget"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// budgetTable writes one line for each Task, and below it what to do if it does not fit. Columns have fixed widths,
// because lines are written while others are still simulated.
type budgetTable struct {
	w       io.Writer
	style   Style
	verbose bool
	begun   bool
}

// maxBudgetText is how many characters of a reason or a command are shown.
const maxBudgetText = 8 * display.DefaultWidth

// Start implements BudgetPrinter.
func (t *budgetTable) Start(facts *BudgetFacts) error {
	lines := []string{"for " + display.Safe(facts.Way.String()) + ", " + display.Safe(facts.Way.Through())}
	for _, note := range facts.Notes {
		lines = append(lines, t.style.render(t.style.dim, display.Short(note, maxBudgetText)))
	}
	_, err := fmt.Fprintf(t.w, "%s\n\n", strings.Join(lines, "\n"))
	return err
}

// Item implements BudgetPrinter.
func (t *budgetTable) Item(item *budget.Item) error {
	var b strings.Builder
	if !t.begun {
		t.begun = true
		b.WriteString(t.style.render(t.style.bold, "EFFECT       C  SHARE  RESULTS  EVIDENCE   LEFT  NAME") + "\n")
	}
	state := statusOfEffect(item.Effect)
	effect := t.style.status(state, fmt.Sprintf("%s %-9s", mark(state), item.Effect))
	fmt.Fprintf(&b, "%s %s  %s\n", effect, budgetNumbers(item), display.Short(budgetName(item), display.DefaultWidth))
	t.details(&b, item)
	_, err := io.WriteString(t.w, b.String())
	return err
}

// budgetNumbers returns the numbers of the fullest message.
func budgetNumbers(item *budget.Item) string {
	s, ok := item.Fullest()
	switch {
	case ok:
		left := fmt.Sprint(s.Left)
		if s.Over > 0 {
			left = fmt.Sprintf("-%d", s.Over)
		}
		about := ""
		if !s.Exact {
			about = "~"
		}
		return fmt.Sprintf("%2d  %5d  %7d  %8d  %5s", item.Fit.Containers, item.Fit.Share, s.Results, s.Evidence, about+left)
	case item.Fit != nil && item.Fit.Containers > 0:
		return fmt.Sprintf("%2d  %5d  %7s  %8s  %5s", item.Fit.Containers, item.Fit.Share, "-", "-", "-")
	}
	return fmt.Sprintf("%2s  %5s  %7s  %8s  %5s", "-", "-", "-", "-", "-")
}

// budgetName returns the name of a Task as kubectl has it.
func budgetName(item *budget.Item) string {
	name := strings.ToLower(item.Kind) + "/" + item.Name
	if item.Namespace != "" {
		name = item.Namespace + " " + name
	}
	if item.PipelineTask != "" {
		name += " " + item.PipelineTask
	}
	return name
}

func (t *budgetTable) details(b *strings.Builder, item *budget.Item) {
	add := func(label, text string) {
		if text != "" {
			fmt.Fprintf(b, "    %-6s %s\n", label, display.Short(text, maxBudgetText))
		}
	}
	add("why", item.Reason)
	if item.Effect == budget.Fails && !item.CanSign {
		add("never", "it can never sign, and where results are enforced each of its TaskRuns fails")
	}
	add("note", item.Note)
	for i, c := range item.Changes {
		label := "or"
		if i == 0 {
			label = "fix"
		}
		add(label, c.Text)
		for _, command := range c.Commands {
			add("", command)
		}
	}
	if t.verbose {
		t.ways(b, item)
	}
}

// ways shows every way to sign.
func (t *budgetTable) ways(b *strings.Builder, item *budget.Item) {
	for _, w := range item.Ways {
		left := fmt.Sprint(w.Left)
		if w.Over > 0 {
			left = fmt.Sprintf("-%d", w.Over)
		}
		fmt.Fprintf(b, "      %-8s %2d  %5d  %6s  %s, %s\n", w.State, w.Containers, w.Share, left,
			display.Safe(w.String()), display.Safe(w.Through()))
	}
}

// Problem implements BudgetPrinter. Errors are shown on standard error.
func (t *budgetTable) Problem(Problem) error { return nil }

// End implements BudgetPrinter.
func (t *budgetTable) End(s BudgetSummary) error {
	if t.begun {
		if _, err := io.WriteString(t.w, "\n"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(t.w, s.String())
	return err
}

// statusOfEffect returns the status whose mark and colour an effect has.
func statusOfEffect(e budget.Effect) verify.Status {
	switch e {
	case budget.Signs:
		return verify.Pass
	case budget.Receipt:
		return verify.Note
	case budget.Close, budget.Unsigned:
		return verify.Warn
	case budget.Uncertain:
		return verify.Unknown
	case budget.Fails, budget.Loses:
	}
	return verify.Fail
}
