// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Outcome is a verdict with its reason: the id of the check that decided, or a signer's reason. It is written as
// "VERIFIED", or "FAILED results".
type Outcome string

const verified Outcome = "VERIFIED"

// Recorded is a TaskRun that ran on a real cluster under a stock Tekton controller, with its expected
// verdicts. The end-to-end tests run it and record it in pkg/verify/testdata/recorded/<name>.json; unit tests
// verify the recordings.
type Recorded struct {
	Name     string
	Live     Outcome   // for the object from the API server
	Offline  Outcome   // for the object in a file; empty if it is the same
	Attempts []Outcome // of the archived attempts, from a file
	Raced    Outcome   // also accepted, if the outcome depends on when the controller read the pod
}

// FromFile returns the outcome for the TaskRun in a file.
func (r Recorded) FromFile() Outcome {
	if r.Offline == "" {
		return r.Live
	}
	return r.Offline
}

// RecordedPlain lists the TaskRuns that pass results by termination messages, Tekton's default.
func RecordedPlain() []Recorded {
	// The use of step results depends on the declaration, which a file does not prove.
	const unproven Outcome = "INDETERMINATE declaration"
	return []Recorded{
		{Name: "types", Live: verified},
		{Name: "strings", Live: verified},
		{Name: "encodings", Live: verified},
		{Name: "missing", Live: verified},
		{Name: "broken-json", Live: verified},
		{Name: "null-array", Live: verified},
		{Name: "null-member", Live: verified},
		{Name: "null-object", Live: verified},
		{Name: "missing-key", Live: verified},
		{Name: "too-large", Live: verified},
		{Name: "overridden", Live: verified},
		{Name: "step-results", Live: verified, Offline: unproven},
		{Name: "one-name", Live: verified, Offline: unproven},
		{Name: "one-name-two-steps", Live: verified, Offline: unproven},
		{Name: "promoted", Live: verified, Offline: unproven},
		{Name: "promoted-twice", Live: verified, Offline: unproven},
		{Name: "promoted-overridden", Live: verified, Offline: unproven},
		{Name: "step-artifacts", Live: verified},
		{Name: "task-artifacts", Live: verified},
		{Name: "skipped", Live: verified},
		{Name: "continued", Live: verified},
		{Name: "continued-timeout", Live: verified},
		{Name: "killed", Live: verified},
		{Name: "terminated", Live: verified},
		{Name: "step-timeout", Live: verified},
		{Name: "out-of-memory", Live: verified},
		{Name: "cancelled", Live: verified},
		{Name: "timed-out", Live: verified},
		{Name: "retried", Live: verified, Attempts: []Outcome{verified, verified}},
		{Name: "retried-cancelled", Live: verified, Attempts: []Outcome{verified}},
		{Name: "a-name-so-long-that-tekton-has-to-hash-the-name-of-the-pod-2", Live: verified, Attempts: []Outcome{verified}},
		{Name: "step-action", Live: verified, Offline: unproven},
		{Name: "matrix-build-0", Live: verified},
		{Name: "matrix-build-1", Live: verified},
	}
}

// RecordedCompressed lists those that run with enable-termination-message-compression.
func RecordedCompressed() []Recorded {
	return []Recorded{
		{Name: "repetitive", Live: verified},
	}
}

// SidecarPrefix begins the names of TaskRuns whose values travel by the log of Tekton's results sidecar. The
// rest of the name is that of the TaskRun that does the same by termination message.
const SidecarPrefix = "logged-"

// RecordedSidecar lists those that run with results-from: sidecar-logs.
func RecordedSidecar() []Recorded {
	const unproven Outcome = "INDETERMINATE declaration"
	list := []Recorded{
		{Name: "types", Live: verified},
		{Name: "strings", Live: verified},
		{Name: "encodings", Live: verified},
		{Name: "missing", Live: verified},
		{Name: "broken-json", Live: "INDETERMINATE payload"}, // what Tekton drops is nowhere else
		{Name: "null-object", Live: verified},
		{Name: "missing-key", Live: verified},
		// Tekton ends the run when it reads the log. It has either read the step's message before, or never does.
		{Name: "too-large", Live: "UNSIGNED coverage", Raced: "INDETERMINATE payload"},
		{Name: "overridden", Live: verified},
		{Name: "step-results", Live: verified, Offline: unproven},
		{Name: "one-name", Live: verified, Offline: unproven},
		{Name: "promoted", Live: verified, Offline: unproven},
		{Name: "promoted-twice", Live: verified, Offline: unproven},
		{Name: "promoted-overridden", Live: "INDETERMINATE payload"}, // the promoted value hides the other one
		{Name: "step-artifacts", Live: verified},
		{Name: "task-artifacts", Live: verified},
		{Name: "skipped", Live: verified},
		{Name: "continued", Live: verified},
		{Name: "killed", Live: verified},
		{Name: "step-timeout", Live: verified},
		{Name: "out-of-memory", Live: verified},
		{Name: "cancelled", Live: verified},
		{Name: "retried", Live: verified, Attempts: []Outcome{verified, verified}},
		{Name: "step-action", Live: verified, Offline: unproven},
	}
	for i := range list {
		list[i].Name = SidecarPrefix + list[i].Name
	}
	return list
}

// Accepts reports whether got is an expected outcome.
func (r Recorded) Accepts(want, got Outcome) bool {
	return got == want || r.Raced != "" && got == r.Raced
}

// OutcomeOf returns the outcome of a verification.
func OutcomeOf(r verify.Result) Outcome {
	return Outcome(strings.TrimSpace(string(r.Verdict) + " " + r.Reason))
}
