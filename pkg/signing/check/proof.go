// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"crypto"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Evidence is the evidence of one step, parsed as far as its format goes. The carriers are exactly those of
// the scheme.
type Evidence struct {
	Format   signing.Format
	Scheme   signing.Scheme    // in format v1 the scheme with the same identity
	Header   signing.Header    // of format v2
	Carriers map[string]string // values by name
}

// Reader is the verifying half of a backend. It is safe for concurrent use.
type Reader interface {
	// Read parses the identity in the evidence of one step. It returns an *UnreadableError if that is not
	// possible.
	Read(e Evidence) (Proof, error)
	// Subject returns the identity that must sign for a TaskRun: its account, or the ID that the backend gives
	// to it.
	Subject(r Run) string
}

// Proof is what the identity in one step's evidence claims, before it is trusted.
type Proof interface {
	// Judge compares the identity with the run.
	Judge(ctx context.Context, r Run) Judgement
	// Signed returns what the identity vouches for: the digest of the step's unit, or the key that signed it.
	// Both are nil if neither could be read.
	Signed() (digest *signing.Digest, key crypto.PublicKey)
	// Who returns the claimed identity.
	Who() Identity
	// When returns when the step signed, as far as the identity contains it. Call it after Judge.
	When() SigningTime
	// Sound returns the passed checks of the identity. Call it after Judge, if the cluster vouches for the
	// identities of all steps.
	Sound() []Check
}

// Judgement is what a backend found out about an identity. The zero value proves nothing.
type Judgement struct {
	Checks     []Check        // those that failed, are undecided, or are notes
	Trusted    bool           // the cluster vouches for the identity
	Comparable bool           // compare what Signed returned with what the TaskRun shows
	Scheme     signing.Scheme // the scheme, if only the identity shows it; zero if the carriers show it
	MissingKey string         // ID of the key or authority that the trust bundle lacks
}

// Identity describes the identity in the evidence of a step.
type Identity struct {
	Subject string // the service account, or the ID of the workload
	Issuer  string // of the cluster's tokens; empty for other identities
	KeyID   string // of the key that vouches for the identity; empty if unknown
	PodUID  string // of the pod that the identity itself names; empty if it names none
	Account string // must be the same for all steps; empty if each identity is judged by itself
	Token   string // ID that must occur only once; empty if there is none
}

// Where a signing time comes from.
const (
	TimeFromToken  = "token"  // the issuer's iat
	TimeFromHeader = "header" // the time in the header of format v2: a claim of the pod
	TimeFromStatus = "status" // when the step ended by the TaskRun's status: a claim of the writer of the status
)

// SigningTime is when a step signed, with the source that proves it.
type SigningTime struct {
	// TimeFromToken, TimeFromHeader, TimeFromStatus, or the source for records in pkg/verify.
	Source  string    `json:"source"`
	At      time.Time `json:"at"`      // whole seconds, UTC
	Trusted bool      `json:"trusted"` // whether anyone other than the pod and the TaskRun's writer vouches for it
}

// UnreadableError is the error of a Reader, with the check that failed.
type UnreadableError struct{ Check Check }

func (e *UnreadableError) Error() string { return e.Check.Message + ": " + e.Check.Got }

// Unreadable returns an *UnreadableError for err, which the caller of Read reports as the failed check id.
func Unreadable(id ID, expected string, err error, message string) error {
	return &UnreadableError{Refuted(id, expected, err.Error(), message)}
}
