// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// Result is the outcome of verifying one TaskRun. The zero value does not mean success.
type Result struct {
	TaskRun Ref     `json:"taskRun"`
	Verdict Verdict `json:"verdict"`
	// VERIFIED, except that nothing proves that the pod was the TaskRun's: see WithUnrecorded.
	Unrecorded bool `json:"unrecorded,omitempty"`
	// The id of the deciding check, one of the reasons below, or a signer's reason.
	Reason    string            `json:"reason,omitempty"`
	Message   string            `json:"message,omitempty"` // the reason in one sentence
	Backend   signing.Backend   `json:"backend,omitempty"`
	Format    signing.Format    `json:"format,omitempty"` // of the evidence
	Assurance signing.Assurance `json:"assurance,omitempty"`
	// What the verdict is based on if that is not only the evidence, and the receipt.
	Basis       record.Basis    `json:"basis,omitempty"`
	Receipt     *record.Receipt `json:"receipt,omitempty"`
	Identity    *Identity       `json:"identity,omitempty"` // absent unless every unit's identity was proven
	Time        *SigningTime    `json:"time,omitempty"`
	Cluster     *ClusterRef     `json:"cluster,omitempty"`     // the cluster whose keys were used
	Succeeded   *Outcome        `json:"succeeded,omitempty"`   // from the TaskRun's own condition
	Steps       int             `json:"steps,omitempty"`       // of the TaskRun
	SignedSteps int             `json:"signedSteps,omitempty"` // those that left evidence, good or not
	Checks      []Check         `json:"checks"`
	Results     []ResultDigest  `json:"results,omitempty"` // status.results without carriers
	Caveats     []string        `json:"caveats,omitempty"` // what was not proven
	MissingKey  string          `json:"missingKey,omitempty"`
	Record      *Recorded       `json:"record,omitempty"` // absent unless its proof is good
}

// Outcome is the condition Succeeded of a TaskRun.
type Outcome struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Reasons of INDETERMINATE that are more specific than a check's id.
const (
	ReasonRunning     = "running"      // the TaskRun is not completed
	ReasonClockBehind = "clock-behind" // the local clock is behind: by it, the signing time is in the future
	ReasonKeysBehind  = "keys-behind"  // the local keys are behind: the API server may have others by now
)

// Premature reports whether the verdict may change soon although the TaskRun does not.
func (r Result) Premature() bool {
	return r.Reason == ReasonClockBehind || r.Reason == ReasonKeysBehind
}

// Ref names a TaskRun.
type Ref struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid,omitempty"`
}

// String returns namespace/name.
func (r Ref) String() string { return r.Namespace + "/" + r.Name }

// Identity is who vouched for the units of a TaskRun.
type Identity struct {
	Subject string    `json:"subject"`          // system:serviceaccount:<namespace>:<name>, or the ID of the workload
	Issuer  string    `json:"issuer,omitempty"` // the cluster's service account issuer
	PodUID  types.UID `json:"podUID,omitempty"` // absent if the signed content does not name the pod
	// The kid of the issuer's keys, or the hex SHA-256 of the authorities' certificates.
	KeyIDs []string `json:"keyIDs,omitempty"`
}

// SigningTime is when the last unit was made, with the source that proves it.
type SigningTime = check.SigningTime

// Where a signing time comes from, besides TimeFromRecord.
const (
	TimeFromToken  = check.TimeFromToken
	TimeFromHeader = check.TimeFromHeader
	TimeFromStatus = check.TimeFromStatus
	// TimeFromReceipt is when the add-on read the pod.
	TimeFromReceipt = "receipt"
)

// ClusterRef names the cluster of a trust bundle.
type ClusterRef struct {
	Name string `json:"name,omitempty"`
	UID  string `json:"uid"` // of the namespace kube-system
}

// ResultDigest is one result of the TaskRun. Verified is true exactly when the TaskRun's verdict is VERIFIED.
type ResultDigest struct {
	Name     string `json:"name"`
	Type     string `json:"type,omitempty"`
	SHA256   string `json:"sha256"` // hex, of the result's JSON value; a string result without its quotes
	Verified bool   `json:"verified"`
}
