// SPDX-License-Identifier: Apache-2.0

package verify

import "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"

// CheckID names one thing that verification examines. The names are stable; docs/verification.md lists them.
type CheckID = check.ID

// Status is the outcome of one check. The zero value does not mean success.
type Status = check.Status

// Check is the examination of one thing. Expected, Got and Message may hold text from the TaskRun: escape
// them before you show them to a person.
type Check = check.Check

// The checks of docs/verification.md, in the order in which they are reported. Package check describes each
// of them.
const (
	CheckMessage        = check.Message
	CheckReserved       = check.Reserved
	CheckCoverage       = check.Coverage
	CheckReceipt        = check.Receipt
	CheckFormat         = check.Format
	CheckTaskRunUID     = check.TaskRunUID
	CheckPod            = check.Pod
	CheckPosition       = check.Position
	CheckCredentialLeak = check.CredentialLeak
	CheckToken          = check.Token
	CheckKey            = check.Key
	CheckSignature      = check.Signature
	CheckPayload        = check.Payload
	CheckTokenReuse     = check.TokenReuse
	CheckCertificate    = check.Certificate
	CheckTrustDomain    = check.TrustDomain
	CheckSubject        = check.Subject
	CheckTime           = check.Time
	CheckDeclaration    = check.Declaration
	CheckResults        = check.Results
	CheckStepResults    = check.StepResults
	CheckArtifacts      = check.Artifacts
	CheckSucceeded      = check.Succeeded
	CheckLog            = check.Log
	CheckRecord         = check.Record

	CheckStatusSignature = check.StatusSignature

	CheckAssurance = check.Assurance
	CheckCondition = check.Condition
)

// The statuses of a check. Fail makes the verdict FAILED, Unknown makes it INDETERMINATE, and Missing makes
// it UNSIGNED. Warn and Note do not change it.
const (
	Pass    = check.Pass
	Fail    = check.Fail
	Unknown = check.Unknown
	Missing = check.Missing
	Warn    = check.Warn
	Note    = check.Note
)
