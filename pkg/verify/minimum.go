// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// WithMinimumFormat refuses evidence of a weaker format: it makes a TaskRun FAILED with the check format. The default is to
// accept every format.
func WithMinimumFormat(format signing.Format) Option {
	return func(v *Verifier) { v.minimumFormat = format }
}

// WithMinimumAssurance refuses evidence whose identity proves less: it makes a TaskRun FAILED with the check assurance. The
// default is to accept every assurance.
func WithMinimumAssurance(assurance signing.Assurance) Option {
	return func(v *Verifier) { v.minimumAssurance = assurance }
}

// checkMinimums reports a minimum that does not exist.
func (v *Verifier) checkMinimums() error {
	if v.minimumFormat != "" {
		if _, err := signing.ParseFormat(string(v.minimumFormat)); err != nil {
			return fmt.Errorf("the minimum format: %w", err)
		}
	}
	if v.minimumAssurance != "" {
		if _, err := signing.ParseAssurance(string(v.minimumAssurance)); err != nil {
			return fmt.Errorf("the minimum assurance: %w", err)
		}
	}
	return nil
}

// checkMinimumFormat compares the format of the evidence with what the verifier asks for.
func (j *judge) checkMinimumFormat(u *unit, format signing.Format) bool {
	minimum := j.v.minimumFormat
	if minimum == "" || format.AtLeast(minimum) {
		return true
	}
	j.add(Check{
		ID: CheckFormat, Status: Fail, Step: u.step.state.Container,
		Expected: "evidence of at least format " + string(minimum), Got: "format " + string(format),
		Message: "the evidence is of a format that the verifier was told to refuse: see the minimum format",
	})
	return false
}

// checkMinimumAssurance compares what the identity proves with what the verifier asks for.
func (j *judge) checkMinimumAssurance(assurance signing.Assurance) {
	minimum := j.v.minimumAssurance
	if minimum == "" || assurance.AtLeast(minimum) {
		return
	}
	j.fail(CheckAssurance, "at least "+string(minimum), string(assurance),
		"the evidence proves less than the verifier was told to ask for: see the minimum assurance")
}
