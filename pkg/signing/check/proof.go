// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"crypto"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Evidence is what one step left, taken apart as far as its format goes. The carriers are those of the scheme, exactly.
type Evidence struct {
	Format   signing.Format
	Scheme   signing.Scheme    // in format v1 the one of the same identity
	Header   signing.Header    // of format v2
	Carriers map[string]string // values by name
}

// Reader is the verifier half of a backend. It is safe for concurrent use.
type Reader interface {
	// Read takes the identity in the evidence of one step apart. What cannot be read is an *UnreadableError.
	Read(e Evidence) (Proof, error)
	// Subject is whose identity proves a TaskRun: the account or the ID that the backend gives to it.
	Subject(r Run) string
}

// Proof is what the identity of one step's evidence claims, before anybody believes it.
type Proof interface {
	// Judge compares the identity with the run.
	Judge(ctx context.Context, r Run) Judgement
	// Signed returns what the identity vouches for: the digest of the step's unit, or the key that signed it.
	// Both are nil where neither could be read.
	Signed() (digest *signing.Digest, key crypto.PublicKey)
	// Who returns whose identity it claims to be.
	Who() Identity
	// When returns when the step signed, as far as the identity says it. Call it after Judge.
	When() SigningTime
	// Sound returns passed checks: what is fine about the identity if the cluster vouches for those of all
	// steps. Call it after a Judge that found so.
	Sound() []Check
}

// Judgement is what a backend found out about an identity. The zero value proves nothing.
type Judgement struct {
	Checks     []Check        // failed, doubted and noted ones
	Trusted    bool           // the cluster vouches for the identity
	Comparable bool           // what Signed returned is to be compared with what the TaskRun shows
	Scheme     signing.Scheme // as which it turned out; zero if the carriers had said it
	MissingKey string         // ID of the key or authority that the trust bundle lacks
}

// Identity is whose identity it is.
type Identity struct {
	Subject string // the service account, or the ID of the workload
	Issuer  string // of the cluster's tokens, empty for other identities
	KeyID   string // of the key that vouches for the identity, empty if that is not known
	PodUID  string // of the pod that the identity itself names, empty if it names none
	Account string // that must be the same for all steps; empty if the identity is judged by itself
	Token   string // ID that must be there only once, empty if there is none
}

// Where a signing time comes from.
const (
	TimeFromToken  = "token"  // the issuer's iat
	TimeFromHeader = "header" // what the signer wrote into the header of format v2: a claim of the pod
	TimeFromStatus = "status" // when the step ended, as the TaskRun's status says: a claim of whoever writes it
)

// SigningTime is when a step signed, as far as anything proves it.
type SigningTime struct {
	// TimeFromToken, TimeFromHeader or TimeFromStatus, or that of pkg/verify for records
	Source  string    `json:"source"`
	At      time.Time `json:"at"`      // whole seconds, UTC
	Trusted bool      `json:"trusted"` // whether somebody other than the pod and the TaskRun's writer vouches for it
}

// UnreadableError is the failure of a Reader: the check that failed.
type UnreadableError struct{ Check Check }

func (e *UnreadableError) Error() string { return e.Check.Message + ": " + e.Check.Got }

// Unreadable returns an *UnreadableError for err, which the caller of Read reports as the failed check id.
func Unreadable(id ID, expected string, err error, message string) error {
	return &UnreadableError{Refuted(id, expected, err.Error(), message)}
}
