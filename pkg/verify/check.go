// SPDX-License-Identifier: Apache-2.0

package verify

// CheckID names one thing that verification looks at. The names are stable; docs/format.md lists them.
type CheckID string

// The checks of docs/format.md, in the order in which they are reported.
const (
	CheckMessage        CheckID = "message"         // termination messages are as Tekton stores them
	CheckReserved       CheckID = "reserved"        // no result bears the name of a carrier
	CheckCoverage       CheckID = "coverage"        // every step left evidence
	CheckFormat         CheckID = "format"          // the evidence is well-formed and of a known format
	CheckTaskRunUID     CheckID = "taskrun-uid"     // the evidence is of this TaskRun
	CheckPod            CheckID = "pod"             // the evidence is of this TaskRun's pod
	CheckPosition       CheckID = "position"        // the steps are all there, in their order
	CheckKey            CheckID = "key"             // the key is the cluster's, strong enough, and was in use
	CheckSignature      CheckID = "signature"       // the signature is the key's
	CheckPayload        CheckID = "payload"         // what is signed is what the TaskRun shows
	CheckToken          CheckID = "token"           // #nosec G101 -- the token is the pod's own, for signing and short-lived
	CheckCredentialLeak CheckID = "credential-leak" // the token is no credential for the API server
	CheckTokenReuse     CheckID = "token-reuse"     // no token vouches for two payloads
	CheckCertificate    CheckID = "certificate"
	CheckTrustDomain    CheckID = "trust-domain"
	CheckSubject        CheckID = "subject"
	CheckTime           CheckID = "time"         // the evidence was made while the TaskRun ran
	CheckDeclaration    CheckID = "declaration"  // the declared results explain what became of the emitted ones
	CheckResults        CheckID = "results"      // status.results is what the steps emitted
	CheckStepResults    CheckID = "step-results" // so are the results of each step
	CheckArtifacts      CheckID = "artifacts"    // and the artifacts
	CheckSucceeded      CheckID = "succeeded"    // the outcome agrees with the steps' exit codes
	CheckLog            CheckID = "log"
	CheckRecord         CheckID = "record"
	CheckAssurance      CheckID = "assurance"
	CheckCondition      CheckID = "condition" // the condition SignedResultsVerified agrees with the verdict
)

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
	ID       CheckID `json:"id"`
	Status   Status  `json:"status"`
	Step     string  `json:"step,omitempty"`     // container of the step concerned
	Result   string  `json:"result,omitempty"`   // name of the result or artifact concerned
	Expected string  `json:"expected,omitempty"` // set whenever Status is Fail
	Got      string  `json:"got,omitempty"`      // set whenever Status is Fail
	Message  string  `json:"message,omitempty"`  // one sentence for people; names the next step where there is one
}
