// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/budget"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// BudgetKind is the kind of the machine-readable form of a BudgetReport.
const BudgetKind = "BudgetReport"

// BudgetReport is the outcome of one run of budget. docs/schema has its JSON schema. It is written item by item.
type BudgetReport struct {
	APIVersion  string        `json:"apiVersion"`
	Kind        string        `json:"kind"`
	Tool        version.Info  `json:"tool"`
	Environment *BudgetFacts  `json:"environment,omitempty"` // absent if the cluster is out of reach
	Items       []budget.Item `json:"items"`
	Errors      []Problem     `json:"errors,omitempty"`
	Summary     BudgetSummary `json:"summary"`
}

// BudgetFacts are the cluster for which a budget was made.
type BudgetFacts struct {
	Way         budget.Way `json:"way"` // how steps sign
	Issuer      string     `json:"issuer,omitempty"`
	TokensFrom  string     `json:"tokensFrom"`  // where the form of tokens is from
	ResultBytes int        `json:"resultBytes"` // assumed for each declared result
	Notes       []string   `json:"notes,omitempty"`
}

// BudgetSummary counts the items by their effect.
type BudgetSummary struct {
	Signed   int `json:"signed"`
	Close    int `json:"close"`
	Receipt  int `json:"receipt"`
	Unsigned int `json:"unsigned"`
	Unknown  int `json:"unknown"`
	Fails    int `json:"fails"`
	Lost     int `json:"lost"`
	Errors   int `json:"errors"`
}

// Add counts an item.
func (s *BudgetSummary) Add(e budget.Effect) {
	switch e {
	case budget.Signs:
		s.Signed++
	case budget.Close:
		s.Close++
	case budget.Receipt:
		s.Receipt++
	case budget.Unsigned:
		s.Unsigned++
	case budget.Fails:
		s.Fails++
	case budget.Loses:
		s.Lost++
	case budget.Uncertain:
		s.Unknown++
	default:
		s.Unknown++
	}
}

// String returns the counts as a sentence.
func (s BudgetSummary) String() string {
	var parts []string
	for _, n := range []struct {
		count int
		text  string
	}{
		{s.Lost, "lose results"}, {s.Fails, "fail"}, {s.Unknown, "unknown"}, {s.Unsigned, "stay unsigned"},
		{s.Receipt, "verified by receipt"}, {s.Close, "close to the limit"}, {s.Signed, "signed"}, {s.Errors, "errors"},
	} {
		if n.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.count, n.text))
		}
	}
	if len(parts) == 0 {
		return "there is nothing to simulate"
	}
	return strings.Join(parts, ", ")
}

// BudgetPrinter writes a report while it is made.
type BudgetPrinter interface {
	Start(facts *BudgetFacts) error // nil: the cluster is out of reach
	Item(item *budget.Item) error
	Problem(p Problem) error
	End(s BudgetSummary) error
}

// BudgetFormats lists the names that NewBudgetPrinter accepts.
func BudgetFormats() []string { return []string{"table", "json", "yaml"} }

// NewBudgetPrinter returns the printer of an output format. verbose shows every way to sign in the table, too.
func NewBudgetPrinter(format string, w io.Writer, style Style, verbose bool) (BudgetPrinter, error) {
	switch format {
	case "table":
		return &budgetTable{w: w, style: style, verbose: verbose}, nil
	case "json":
		return &budgetStream{newJSON(w)}, nil
	case "yaml":
		return &budgetStream{newYAML(w)}, nil
	}
	return nil, fmt.Errorf("--output: expected one of %s, got %q", strings.Join(BudgetFormats(), ", "), format)
}

// budgetStream writes the one object of the formats JSON and YAML item by item.
type budgetStream struct{ *stream }

// Start implements BudgetPrinter.
func (s *budgetStream) Start(facts *BudgetFacts) error {
	if err := s.write(s.encode.begin()); err != nil {
		return err
	}
	type field struct {
		name  string
		value any
	}
	fields := []field{{"apiVersion", APIVersion}, {"kind", BudgetKind}, {"tool", version.Get()}}
	if facts != nil {
		fields = append(fields, field{"environment", facts})
	}
	for i, f := range fields {
		if err := s.field(f.name, f.value, i == 0); err != nil {
			return err
		}
	}
	return s.write(s.encode.beginItems())
}

// Item implements BudgetPrinter.
func (s *budgetStream) Item(item *budget.Item) error {
	text, err := s.encode.item(item, s.items == 0)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	s.items++
	return s.write(text)
}

// End implements BudgetPrinter.
func (s *budgetStream) End(summary BudgetSummary) error {
	if err := s.write(s.encode.endItems(s.items)); err != nil {
		return err
	}
	if len(s.problems) > 0 {
		if err := s.field("errors", s.problems, false); err != nil {
			return err
		}
	}
	if err := s.field("summary", summary, false); err != nil {
		return err
	}
	return s.write(s.encode.end())
}
