// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
)

// minimum is what the verifier requires of evidence. The zero value accepts all evidence.
type minimum struct {
	format    signing.Format
	assurance signing.Assurance
}

// WithMinimumFormat refuses evidence of a weaker format: the TaskRun is FAILED with the check format. By
// default, every format is accepted.
func WithMinimumFormat(format signing.Format) Option {
	return func(v *Verifier) { v.minimum.format = format }
}

// WithMinimumAssurance refuses evidence whose identity proves less: the TaskRun is FAILED with the check
// assurance. By default, every assurance is accepted.
func WithMinimumAssurance(assurance signing.Assurance) Option {
	return func(v *Verifier) { v.minimum.assurance = assurance }
}

// validate returns an error for a minimum that does not exist.
func (m minimum) validate() error {
	if m.format != "" {
		if _, err := signing.ParseFormat(string(m.format)); err != nil {
			return fmt.Errorf("the minimum format: %w", err)
		}
	}
	if m.assurance != "" {
		if _, err := signing.ParseAssurance(string(m.assurance)); err != nil {
			return fmt.Errorf("the minimum assurance: %w", err)
		}
	}
	return nil
}

// acceptsFormat reports whether evidence may have this format.
func (m minimum) acceptsFormat(format signing.Format) bool {
	return m.format == "" || format.AtLeast(m.format)
}

// checkAssurance compares what the identity proves with the minimum.
func (m minimum) checkAssurance(assurance signing.Assurance) []Check {
	if m.assurance == "" || assurance.AtLeast(m.assurance) {
		return nil
	}
	return []Check{check.Refuted(CheckAssurance, "at least "+string(m.assurance), string(assurance),
		"the evidence proves less than the verifier's minimum assurance")}
}
