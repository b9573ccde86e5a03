// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/evidence"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// EvidenceKind is the kind of the machine-readable inspection.
const EvidenceKind = "Evidence"

// EvidenceNotice states that an inspection verifies nothing.
const EvidenceNotice = "nothing here is verified: this is what the evidence says of itself"

// EvidenceReport is the outcome of one run of evidence.
type EvidenceReport struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Notice     string             `json:"notice"`
	Tool       version.Info       `json:"tool"`
	Items      []evidence.TaskRun `json:"items"`
	Errors     []Problem          `json:"errors,omitempty"` // what could not be read at all
	Verified   bool               `json:"verified"`         // always false
}

// NewEvidence returns the report of items and problems.
func NewEvidence(items []evidence.TaskRun, problems []Problem) *EvidenceReport {
	return &EvidenceReport{
		APIVersion: APIVersion, Kind: EvidenceKind, Notice: EvidenceNotice, Tool: version.Get(),
		Items: append([]evidence.TaskRun{}, items...), Errors: problems,
	}
}

// JSON writes the report as one JSON object.
func (r *EvidenceReport) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

// YAML writes the report as one YAML document.
func (r *EvidenceReport) YAML(w io.Writer) error {
	data, err := yaml.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, err = w.Write(data)
	return err
}
