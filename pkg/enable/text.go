// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
)

// WriteText prints the plan for people: a line for each object, and the keys of the settings with their old and new
// values. show makes a string from the cluster safe to print.
func (p Plan) WriteText(w io.Writer, show func(string) string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range p.Changes {
		fmt.Fprintf(table, "  %s\t%s\n", c.Action, show(object.Describe(c.Object)))
		if c.Note != "" {
			fmt.Fprintf(table, "\t  %s\n", c.Note)
		}
		for _, k := range c.Keys {
			fmt.Fprintf(table, "\t  %s: %s -> %s\n", show(k.Key), showValue(k.Old, show), showValue(k.New, show))
		}
	}
	return table.Flush()
}

func showValue(value *string, show func(string) string) string {
	if value == nil {
		return "(absent)"
	}
	return show(*value)
}

// Summary counts what the plan does.
func (p Plan) Summary() string {
	if n := p.Count(Delete); n > 0 {
		text := fmt.Sprintf("%d to delete, %d to update", n, p.Count(Update))
		if kept := p.Count(Keep); kept > 0 {
			text += fmt.Sprintf(", %d to keep", kept)
		}
		return text
	}
	return fmt.Sprintf("%d to create, %d to update, %d unchanged", p.Count(Create), p.Count(Update), p.Count(Unchanged))
}
