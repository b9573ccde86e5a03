// SPDX-License-Identifier: Apache-2.0

// Package check holds what pkg/verify and the verifier halves of the backends have in common: the [Check],
// which is one look at one thing, the [Run] that an identity is judged against, and the interfaces of a
// backend's verifier half, [Reader] and [Proof].
//
// The package knows no cluster, and no clock: the Run holds the time.
package check

// ID names one thing that verification looks at. The names are stable; docs/verification.md lists them.
type ID string

// The checks of docs/verification.md, in the order in which they are reported.
const (
	Message        ID = "message"         // termination messages are as Tekton stores them
	Reserved       ID = "reserved"        // no result bears the name of a carrier
	Receipt        ID = "receipt"         // the steps are as the kubelet reported them
	Coverage       ID = "coverage"        // every step left evidence
	Format         ID = "format"          // the evidence is well-formed and of a known format
	TaskRunUID     ID = "taskrun-uid"     // the evidence is of this TaskRun
	Pod            ID = "pod"             // the evidence is of this TaskRun's pod
	Position       ID = "position"        // the steps are all there, in their order
	CredentialLeak ID = "credential-leak" // the token is no credential for the API server
	Token          ID = "token"           // #nosec G101 -- the token is the pod's own, for signing and short-lived
	Key            ID = "key"             // the key is the cluster's, strong enough, and was in use
	Signature      ID = "signature"       // the signature is the key's
	Payload        ID = "payload"         // what is signed is what the TaskRun shows
	TokenReuse     ID = "token-reuse"     // no token vouches for two payloads
	Certificate    ID = "certificate"     // the certificate leads to an authority of the cluster
	TrustDomain    ID = "trust-domain"    // that authority is of the cluster's own trust domain
	Subject        ID = "subject"         // the certificate is this TaskRun's
	Time           ID = "time"            // the evidence was made while the TaskRun ran
	Declaration    ID = "declaration"     // the declared results explain what became of the emitted ones
	Results        ID = "results"         // status.results is what the steps emitted
	StepResults    ID = "step-results"    // so are the results of each step
	Artifacts      ID = "artifacts"       // and the artifacts
	Succeeded      ID = "succeeded"       // the outcome agrees with the steps' exit codes
	Log            ID = "log"
	Record         ID = "record"    // the add-on's record is of this TaskRun as it is
	Assurance      ID = "assurance" // the identity proves enough
	Condition      ID = "condition" // the condition SignedResultsVerified agrees with the verdict
)

// Order lists every ID in the order in which checks are reported: the first check that decides a verdict is its reason.
func Order() []ID {
	return []ID{
		Message, Reserved, Coverage, Receipt, Format, TaskRunUID, Pod, Position, CredentialLeak, Token, Key, Signature, Payload,
		TokenReuse,
		Certificate, TrustDomain, Subject, Time, Declaration, Results, StepResults, Artifacts, Succeeded, Log, Record,
		Assurance, Condition,
	}
}

// Status is the outcome of one check. The zero value is no success.
type Status string

// The statuses of a check. Fail makes the verdict FAILED, Unknown makes it INDETERMINATE, Missing makes it UNSIGNED;
// Warn and Note leave it alone.
const (
	Pass    Status = "pass"
	Fail    Status = "fail"
	Unknown Status = "unknown"
	Missing Status = "missing"
	Warn    Status = "warn"
	Note    Status = "note"
)

// Check is one look at one thing. Expected, Got and Message may hold text from the TaskRun: whoever shows them to a
// person escapes them.
type Check struct {
	ID       ID     `json:"id"`
	Status   Status `json:"status"`
	Step     string `json:"step,omitempty"`     // container of the step concerned
	Result   string `json:"result,omitempty"`   // name of the result or artifact concerned
	Expected string `json:"expected,omitempty"` // set whenever Status is Fail
	Got      string `json:"got,omitempty"`      // set whenever Status is Fail
	Message  string `json:"message,omitempty"`  // one sentence for people; names the next step where there is one
}

// Passed returns a check that passed.
func Passed(id ID, message string) Check { return Check{ID: id, Status: Pass, Message: message} }

// Refuted returns a check that failed.
func Refuted(id ID, expected, got, message string) Check {
	return Check{ID: id, Status: Fail, Expected: expected, Got: got, Message: message}
}

// Doubted returns a check that nobody can decide with what is here.
func Doubted(id ID, expected, got, message string) Check {
	return Check{ID: id, Status: Unknown, Expected: expected, Got: got, Message: message}
}
