// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"fmt"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
)

// Report is the outcome of one run.
type Report struct {
	Outcome     Outcome         `json:"outcome"`
	Backend     string          `json:"backend"`
	Environment status.Versions `json:"environment"`
	Enable      string          `json:"enable"` // the command for which the cluster was checked
	Checks      []Result        `json:"checks"`
	Summary     Summary         `json:"summary"`
}

// Outcome sums up the checks. The zero value does not mean success.
type Outcome string

// The outcomes, the strongest first: when several apply, the first of them counts.
const (
	NotReady  Outcome = "not-ready" // a check failed
	Undecided Outcome = "unknown"   // something could not be found out
	Drawbacks Outcome = "warnings"  // ready, with drawbacks
	Ready     Outcome = "ready"
)

// Outcomes lists every outcome, the strongest first.
func Outcomes() []Outcome { return []Outcome{NotReady, Undecided, Drawbacks, Ready} }

// Summary counts the checks by state.
type Summary struct {
	Passed   int `json:"passed"`
	Failed   int `json:"failed"`
	Warnings int `json:"warnings"`
	Unknown  int `json:"unknown"`
	Skipped  int `json:"skipped"`
}

// Conclude counts the checks and derives the outcome.
func (r *Report) Conclude() {
	r.Summary = Summary{}
	for _, c := range r.Checks {
		switch c.State {
		case Passed:
			r.Summary.Passed++
		case Warning:
			r.Summary.Warnings++
		case Skipped:
			r.Summary.Skipped++
		case Unknown:
			r.Summary.Unknown++
		case Failed:
			r.Summary.Failed++
		default:
			r.Summary.Failed++
		}
	}
	switch {
	case r.Summary.Failed > 0:
		r.Outcome = NotReady
	case r.Summary.Unknown > 0 || r.Summary.Passed+r.Summary.Warnings == 0:
		r.Outcome = Undecided
	case r.Summary.Warnings > 0:
		r.Outcome = Drawbacks
	default:
		r.Outcome = Ready
	}
}

// String returns the outcome as a sentence.
func (r *Report) String() string {
	s := r.Summary
	var parts []string
	for _, n := range []struct {
		count int
		text  string
	}{{s.Failed, "failed"}, {s.Unknown, "unknown"}, {s.Warnings, "with a warning"}, {s.Passed, "passed"},
		{s.Skipped, "skipped"}} {
		if n.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.count, n.text))
		}
	}
	counts := strings.Join(parts, ", ")
	switch r.Outcome {
	case Ready:
		return "this cluster is ready for " + r.Backend + ": " + counts
	case Drawbacks:
		return "this cluster is ready for " + r.Backend + ", with drawbacks: " + counts
	case Undecided:
		return "some checks could not be made: " + counts
	case NotReady:
	}
	return "this cluster is not ready for " + r.Backend + ": " + counts
}
