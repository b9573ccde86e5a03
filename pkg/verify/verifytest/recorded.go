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

// Recorded is a TaskRun that ran on a real cluster under a stock Tekton controller, and what verification says of it. The
// end-to-end tests run it and record it in pkg/verify/testdata/recorded/<name>.json; unit tests verify the recordings.
type Recorded struct {
	Name     string
	Live     Outcome   // when the API server itself hands out the object
	Offline  Outcome   // from a file; where it is the same, it is left out
	Attempts []Outcome // of the archived attempts, from a file
	Raced    Outcome   // instead of any of them, where it depends on when the controller looked at the pod
}

// FromFile is the outcome of the TaskRun in a file.
func (r Recorded) FromFile() Outcome {
	if r.Offline == "" {
		return r.Live
	}
	return r.Offline
}

// RecordedPlain lists the TaskRuns that run with Tekton's default way of passing results, termination messages.
func RecordedPlain() []Recorded {
	// What becomes of step results rests on the declaration, which a file does not prove.
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

// SidecarPrefix begins the names of TaskRuns whose values travel by the log of Tekton's results sidecar. Behind it stands the
// name of the one that does the same by termination message.
const SidecarPrefix = "logged-"

// RecordedSidecar lists those that run with results-from: sidecar-logs.
func RecordedSidecar() []Recorded {
	const unproven Outcome = "INDETERMINATE declaration"
	list := []Recorded{
		{Name: "types", Live: verified},
		{Name: "strings", Live: verified},
		{Name: "encodings", Live: verified},
		{Name: "missing", Live: verified},
		{Name: "broken-json", Live: "INDETERMINATE payload"}, // what Tekton drops stands nowhere else
		{Name: "null-object", Live: verified},
		{Name: "missing-key", Live: verified},
		// Tekton ends the run when it reads the log, and either has taken the step's message over before, or never does.
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

// Accepts reports whether got is the outcome that is wanted.
func (r Recorded) Accepts(want, got Outcome) bool {
	return got == want || r.Raced != "" && got == r.Raced
}

// OutcomeOf returns what a verification found.
func OutcomeOf(r verify.Result) Outcome {
	return Outcome(strings.TrimSpace(string(r.Verdict) + " " + r.Reason))
}
