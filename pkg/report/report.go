// SPDX-License-Identifier: Apache-2.0

// Package report prints what verification found, with one small printer for each format. A printer takes
// TaskRuns one by one and keeps as few of them as its format allows. JSON and YAML contain every string
// completely, and escape control characters in the way of these formats. All other formats use the one
// function that makes text safe to show. The package verifies nothing.
package report

import (
	"fmt"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// APIVersion and Kind of the machine-readable report.
const (
	APIVersion = "tekton-sign.dev/v1alpha1"
	Kind       = "VerificationReport"
)

// Report is the outcome of one run of verify. docs/schema has its JSON schema.
type Report struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Tool       version.Info `json:"tool"`
	Trust      *Trust       `json:"trust,omitempty"` // absent if there were no keys
	Items      []Item       `json:"items"`
	// PipelineRuns are the requested ones, and those that they ran.
	PipelineRuns []PipelineRun `json:"pipelineRuns,omitempty"`
	Errors       []Problem     `json:"errors,omitempty"`      // what could not be read or verified at all
	Notes        []string      `json:"notes,omitempty"`       // what was skipped, and why
	Interrupted  bool          `json:"interrupted,omitempty"` // the run ended before everything was verified
	Summary      Summary       `json:"summary"`
}

// Item is the outcome for one TaskRun.
type Item struct {
	verify.Result `json:",inline"`
	Source        string    `json:"source,omitempty"`   // the file, and the place in it
	Attempts      []Attempt `json:"attempts,omitempty"` // earlier attempts of a TaskRun that was retried
}

// Attempt is the outcome for an earlier attempt.
type Attempt struct {
	Number        int `json:"attempt"` // from 1
	verify.Result `json:",inline"`
}

// Trust is where the keys came from.
type Trust struct {
	Source  string            `json:"source"`           // "file" or "cluster"
	Path    string            `json:"path,omitempty"`   // of the file
	SHA256  string            `json:"sha256,omitempty"` // hex, of the file's bytes
	Cluster verify.ClusterRef `json:"cluster"`
}

// Values of Trust.Source.
const (
	SourceFile    = "file"
	SourceCluster = "cluster"
)

// Summary counts the TaskRuns, and their earlier attempts, by verdict.
type Summary struct {
	TaskRuns int `json:"taskRuns"`
	Attempts int `json:"attempts"` // earlier attempts that were verified
	Verified int `json:"verified"`
	// Those that are VERIFIED only because of the flag --allow-unrecorded.
	Unrecorded    int `json:"unrecorded,omitempty"`
	Failed        int `json:"failed"`
	Unsigned      int `json:"unsigned"`
	Indeterminate int `json:"indeterminate"`
	NoResults     int `json:"noResults"`
	Errors        int `json:"errors"`
	// PipelineRuns counts PipelineRuns. It is absent if there were none.
	PipelineRuns *PipelineRunCounts `json:"pipelineRuns,omitempty"`
}

// Problem is input that could not be read as a TaskRun.
type Problem struct {
	Source  string `json:"source,omitempty"` // file and position, or the requested name
	Message string `json:"message"`          // contains the source
}

// Add counts an item.
func (s *Summary) Add(item *Item) {
	s.TaskRuns++
	s.count(&item.Result)
	for i := range item.Attempts {
		s.Attempts++
		s.count(&item.Attempts[i].Result)
	}
}

func (s *Summary) count(r *verify.Result) {
	if r.Unrecorded {
		s.Unrecorded++
	}
	switch r.Verdict {
	case verify.Verified:
		s.Verified++
	case verify.Unsigned:
		s.Unsigned++
	case verify.Indeterminate:
		s.Indeterminate++
	case verify.NoResults:
		s.NoResults++
	case verify.Failed:
		s.Failed++
	default:
		s.Failed++
	}
}

// String returns how many TaskRuns have which verdict.
func (s Summary) String() string {
	var parts []string
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
		if p.text == string(verify.Verified) && s.Unrecorded > 0 {
			parts[len(parts)-1] += fmt.Sprintf(" (%d unrecorded)", s.Unrecorded)
		}
	}
	text := plural(s.TaskRuns, "TaskRun")
	if s.Attempts > 0 {
		text += " and " + plural(s.Attempts, "earlier attempt")
	}
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if s.PipelineRuns != nil {
		text += "; " + s.PipelineRuns.String()
	}
	return text
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
