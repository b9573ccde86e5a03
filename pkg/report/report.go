// SPDX-License-Identifier: Apache-2.0

// Package report shows what verification found: one view, the same on success and on failure, and one small renderer a
// format. Machine formats carry every string as it is; the table goes through the one function that makes text safe to
// show. The package verifies nothing.
package report

import (
	"encoding/json"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// APIVersion and Kind of the machine-readable report.
const (
	APIVersion = "tekton-sign.dev/v1alpha1"
	Kind       = "VerificationReport"
)

// Report is the outcome of one run of verify.
type Report struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Tool       version.Info    `json:"tool"`
	Trust      *Trust          `json:"trust,omitempty"` // absent when there was nothing to verify with
	Summary    Summary         `json:"summary"`
	Items      []verify.Result `json:"items"`
	Errors     []Problem       `json:"errors,omitempty"` // what could not be read or verified at all
}

// Trust says where the keys came from.
type Trust struct {
	Source  string            `json:"source"`           // "file" or "cluster"
	Path    string            `json:"path,omitempty"`   // of the file
	SHA256  string            `json:"sha256,omitempty"` // hex, of the file's bytes
	Cluster verify.ClusterRef `json:"cluster"`
}

// Summary counts the TaskRuns by verdict.
type Summary struct {
	TaskRuns      int `json:"taskRuns"`
	Verified      int `json:"verified"`
	Failed        int `json:"failed"`
	Unsigned      int `json:"unsigned"`
	Indeterminate int `json:"indeterminate"`
	NoResults     int `json:"noResults"`
	Errors        int `json:"errors"`
}

// Problem is something that never became a TaskRun.
type Problem struct {
	Source  string `json:"source,omitempty"` // file and position, or what was asked for
	Message string `json:"message"`
}

// New returns the report of items and problems.
func New(trust *Trust, items []verify.Result, problems []Problem) *Report {
	r := &Report{
		APIVersion: APIVersion, Kind: Kind, Tool: version.Get(), Trust: trust,
		Items: append([]verify.Result{}, items...), Errors: problems,
		Summary: Summary{TaskRuns: len(items), Errors: len(problems)},
	}
	for _, item := range items {
		switch item.Verdict {
		case verify.Verified:
			r.Summary.Verified++
		case verify.Unsigned:
			r.Summary.Unsigned++
		case verify.Indeterminate:
			r.Summary.Indeterminate++
		case verify.NoResults:
			r.Summary.NoResults++
		case verify.Failed:
			r.Summary.Failed++
		default:
			r.Summary.Failed++
		}
	}
	return r
}

// JSON writes the report as one JSON object.
func (r *Report) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

// YAML writes the report as one YAML document.
func (r *Report) YAML(w io.Writer) error {
	data, err := yaml.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, err = w.Write(data)
	return err
}
