// SPDX-License-Identifier: Apache-2.0

// Package check holds what pkg/verify and the verifying halves of the backends share: the [Check], the [Run]
// that an identity is judged against, and the interfaces of a backend's verifying half, [Reader] and [Proof].
//
// The package has no client and no clock: the Run holds the time.
package check

// ID names one thing that verification examines. The names are stable; docs/verification.md lists them.
type ID string

// The checks of docs/verification.md, in the order in which they are reported.
const (
	Message        ID = "message"         // termination messages are as Tekton stores them
	Reserved       ID = "reserved"        // no result has the name of a carrier
	Receipt        ID = "receipt"         // the steps are as the kubelet reported them
	Coverage       ID = "coverage"        // every step left evidence
	Format         ID = "format"          // the evidence is well-formed and of a known format
	TaskRunUID     ID = "taskrun-uid"     // the evidence belongs to this TaskRun
	Pod            ID = "pod"             // the evidence belongs to this TaskRun's pod
	Position       ID = "position"        // the steps are all there, in their order
	CredentialLeak ID = "credential-leak" // the token is not a credential for the API server
	Token          ID = "token"           // #nosec G101 -- the token is the pod's own, for signing and short-lived
	Key            ID = "key"             // the key is the cluster's, strong enough, and was in use
	Signature      ID = "signature"       // the key made the signature
	Payload        ID = "payload"         // what is signed is what the TaskRun shows
	TokenReuse     ID = "token-reuse"     // no token vouches for two payloads
	Certificate    ID = "certificate"     // the certificate leads to an authority of the cluster
	TrustDomain    ID = "trust-domain"    // that authority is of the cluster's own trust domain
	Subject        ID = "subject"         // the certificate is this TaskRun's
	Time           ID = "time"            // the evidence was made while the TaskRun ran
	Declaration    ID = "declaration"     // the declared results explain how Tekton used the emitted ones
	Results        ID = "results"         // status.results is what the steps emitted
	StepResults    ID = "step-results"    // the results of each step are what it emitted
	Artifacts      ID = "artifacts"       // status.artifacts is what the steps emitted
	Succeeded      ID = "succeeded"       // the outcome agrees with the steps' exit codes
	Log            ID = "log"
	Record         ID = "record" // the add-on's record matches this TaskRun
	// StatusSignature passes if the controller signed the status as it is.
	StatusSignature ID = "status-signature"
	Assurance       ID = "assurance" // the identity proves at least the minimum
	Condition       ID = "condition" // the condition SignedResultsVerified agrees with the verdict
)

// Order lists every ID in the order in which checks are reported. The first check that decides a verdict is
// its reason.
func Order() []ID {
	return []ID{
		Message, Reserved, Coverage, Receipt, Format, TaskRunUID, Pod, Position, CredentialLeak, Token,
		Key, Signature, Payload, TokenReuse, Certificate, TrustDomain, Subject, Time, Declaration,
		Results, StepResults, Artifacts, Succeeded, Log, Record, StatusSignature, Assurance, Condition,
	}
}

// Status is the outcome of one check. The zero value does not mean success.
type Status string

// The statuses of a check. Fail makes the verdict FAILED, Unknown makes it INDETERMINATE, and Missing makes
// it UNSIGNED. Warn and Note do not change it.
const (
	Pass    Status = "pass"
	Fail    Status = "fail"
	Unknown Status = "unknown"
	Missing Status = "missing"
	Warn    Status = "warn"
	Note    Status = "note"
)

// Check is the examination of one thing. Expected, Got and Message may hold text from the TaskRun: escape
// them before you show them to a person.
type Check struct {
	ID       ID     `json:"id"`
	Status   Status `json:"status"`
	Step     string `json:"step,omitempty"`     // container of the step concerned
	Result   string `json:"result,omitempty"`   // name of the result or artifact concerned
	Expected string `json:"expected,omitempty"` // set whenever Status is Fail
	Got      string `json:"got,omitempty"`      // set whenever Status is Fail
	Message  string `json:"message,omitempty"`  // one sentence for people; names the next step if there is one
}

// Passed returns a check that passed.
func Passed(id ID, message string) Check { return Check{ID: id, Status: Pass, Message: message} }

// Refuted returns a check that failed.
func Refuted(id ID, expected, got, message string) Check {
	return Check{ID: id, Status: Fail, Expected: expected, Got: got, Message: message}
}

// Doubted returns a check that cannot be decided with what is known.
func Doubted(id ID, expected, got, message string) Check {
	return Check{ID: id, Status: Unknown, Expected: expected, Got: got, Message: message}
}
