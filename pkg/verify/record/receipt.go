// SPDX-License-Identifier: Apache-2.0

package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// PredicateTypeReceipt is the predicate type of a record whose verdict depends on a receipt.
const PredicateTypeReceipt = "https://tekton-sign.dev/record/v2"

// Basis is what a verdict is based on.
type Basis string

// The bases of a record v2. The basis of a record v1 is only the evidence.
const (
	BasisEvidence Basis = "evidence" // the receipts are those of earlier attempts
	BasisReceipt  Basis = "receipt"
	BasisBoth     Basis = "evidence and receipt" // some steps left evidence, and the receipt covers the others
)

// MaxReceiptSteps is the maximum number of steps in a receipt.
const MaxReceiptSteps = 100

// Receipt is what the kubelet reported about the TaskRun's pod, as the add-on read it when the TaskRun
// completed.
type Receipt struct {
	Node         string    `json:"node"`
	RuntimeClass string    `json:"runtimeClass"` // empty for the node's default
	Phase        string    `json:"phase"`        // of the pod
	Created      time.Time `json:"created"`      // of the pod
	Log          string    `json:"log"`          // hex SHA-256 of the results sidecar's log; empty if it was not needed
	Steps        []Step    `json:"steps"`        // in the order of the pod's containers
}

// Phases are the phases of a pod. The empty one is that of a pod about which nobody has reported yet.
func Phases() []string { return []string{"", "Pending", "Running", "Succeeded", "Failed", "Unknown"} }

// Step is what the kubelet reported about one container. A container that never ended has no reason.
type Step struct {
	Container string `json:"container"`
	ExitCode  int32  `json:"exitCode"`
	Reason    string `json:"reason"`
	ImageID   string `json:"imageID"`
	Message   string `json:"message"` // hex SHA-256 of the termination message; empty if there was none
}

// Attempt is an earlier attempt of the TaskRun that left no evidence, and that the add-on verified by a
// receipt when Tekton archived it.
type Attempt struct {
	Number          int    `json:"number"`          // from 0
	TaskRun         string `json:"taskRun"`         // hex SHA-256 of the projection of the attempt
	WithoutMessages string `json:"withoutMessages"` // digest of Projection.WithoutMessages of the attempt
}

// MaxAttempts is the maximum number of attempts in a record.
const MaxAttempts = 16

// AttemptOf describes an attempt in the form of a separate TaskRun.
func AttemptOf(attempt *v1.TaskRun, number int) (Attempt, error) {
	p, err := Project(attempt)
	if err != nil {
		return Attempt{}, err
	}
	a := Attempt{Number: number}
	if a.TaskRun, err = p.Digest(); err != nil {
		return Attempt{}, err
	}
	a.WithoutMessages, err = p.WithoutMessages().Digest()
	return a, err
}

// Covers reports whether this is the entry for an attempt as it is now, perhaps without its messages.
func (a Attempt) Covers(now Attempt) bool {
	bare := now.TaskRun == now.WithoutMessages
	return now == a || bare && now.Number == a.Number && now.WithoutMessages == a.WithoutMessages
}

// MessageDigest returns the form of a termination message in a receipt.
func MessageDigest(message string) string {
	if message == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(message))
	return hex.EncodeToString(sum[:])
}

// HasReceipt reports whether the verdict depends on a receipt.
func (p Predicate) HasReceipt() bool { return p.Receipt != nil }

// predicateType returns the type of the statement that holds the predicate.
func (p Predicate) predicateType() string {
	if p.Basis != "" || p.HasReceipt() || len(p.Attempts) > 0 {
		return PredicateTypeReceipt
	}
	return PredicateType
}

// validateReceipt returns an error for a basis without a receipt, a receipt without a basis, or an invalid
// receipt.
func (p Predicate) validateReceipt() error {
	r, wanted := p.Receipt, p.Basis == BasisReceipt || p.Basis == BasisBoth
	switch {
	case len(p.Attempts) > MaxAttempts:
		return fmt.Errorf("expected at most %d attempts, got %d", MaxAttempts, len(p.Attempts))
	case r == nil && len(p.Attempts) == 0 && p.Basis == "", r == nil && len(p.Attempts) > 0 && p.Basis == BasisEvidence:
		return nil
	case r == nil || !wanted:
		return fmt.Errorf(
			"expected a basis of %q or %q with a receipt, %q with attempts alone, or none of them, got basis %q",
			BasisReceipt, BasisBoth, BasisEvidence, p.Basis)
	case !slices.Contains(Phases(), r.Phase):
		return fmt.Errorf("expected a phase among %q, got %q", Phases(), r.Phase)
	case r.Steps == nil || len(r.Steps) > MaxReceiptSteps:
		return fmt.Errorf("expected a receipt of at most %d steps, got %d", MaxReceiptSteps, len(r.Steps))
	case r.Created.Format(time.RFC3339Nano) != r.Created.UTC().Format(time.RFC3339):
		return fmt.Errorf("expected a time in UTC and whole seconds, got %s", r.Created.Format(time.RFC3339Nano))
	}
	return nil
}

// receiptDigests returns the digests in the receipt and of the attempts.
func (p Predicate) receiptDigests() []string {
	var digests []string
	for _, a := range p.Attempts {
		digests = append(digests, a.TaskRun, a.WithoutMessages)
	}
	if p.Receipt == nil {
		return digests
	}
	if p.Receipt.Log != "" {
		digests = append(digests, p.Receipt.Log)
	}
	for _, s := range p.Receipt.Steps {
		if s.Message != "" {
			digests = append(digests, s.Message)
		}
	}
	return digests
}
