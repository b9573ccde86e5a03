// SPDX-License-Identifier: Apache-2.0

package report

import (
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
)

// pageRows is how many rows are aligned with each other. Columns grow from page to page and never shrink.
const pageRows = 100

// aligner writes rows in aligned columns, one page at a time.
type aligner struct {
	w      io.Writer
	widths []int
	rows   []alignedRow
}

type alignedRow struct {
	cells  []string
	render func(line string) string // colours the row's first cell; nil for no colour
	below  string                   // lines that follow the row
}

// row adds a row. Its cells must be safe to show.
func (a *aligner) row(r alignedRow) error {
	a.rows = append(a.rows, r)
	if len(a.rows) == pageRows {
		return a.flush()
	}
	return nil
}

func (a *aligner) flush() error {
	for _, r := range a.rows {
		for i, cell := range r.cells {
			if i == len(a.widths) {
				a.widths = append(a.widths, 0)
			}
			a.widths[i] = max(a.widths[i], lipgloss.Width(cell))
		}
	}
	var b strings.Builder
	for _, r := range a.rows {
		var line strings.Builder
		for i, cell := range r.cells {
			pad := strings.Repeat(" ", a.widths[i]-lipgloss.Width(cell)+2)
			if i == 0 && r.render != nil {
				cell = r.render(cell)
			}
			line.WriteString(cell + pad)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n" + r.below)
	}
	a.rows = a.rows[:0]
	_, err := io.WriteString(a.w, b.String())
	return err
}
