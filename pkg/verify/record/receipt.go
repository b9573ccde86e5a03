// SPDX-License-Identifier: Apache-2.0

package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// PredicateTypeReceipt is the predicate type of a record whose verdict depends on a receipt.
const PredicateTypeReceipt = "https://tekton-sign.dev/record/v2"

// Basis is what a verdict is based on.
type Basis string

// The bases of a record v2. The basis of a record v1 is only the evidence.
const (
	BasisReceipt Basis = "receipt"
	BasisBoth    Basis = "evidence and receipt" // some steps left evidence, and the receipt covers the others
)

// MaxReceiptSteps is the maximum number of steps in a receipt.
const MaxReceiptSteps = 100

// Receipt is what the kubelet reported about the TaskRun's pod, as the add-on read it when the TaskRun
// completed.
type Receipt struct {
	Node         string    `json:"node"`
	RuntimeClass string    `json:"runtimeClass"` // empty for the node's default
	Created      time.Time `json:"created"`      // of the pod
	Steps        []Step    `json:"steps"`        // in the order of the pod's containers
}

// Step is what the kubelet reported about one container. A container that never ended has no reason.
type Step struct {
	Container string `json:"container"`
	ExitCode  int32  `json:"exitCode"`
	Reason    string `json:"reason"`
	ImageID   string `json:"imageID"`
	Message   string `json:"message"` // hex SHA-256 of the termination message; empty if there was none
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
	if p.HasReceipt() {
		return PredicateTypeReceipt
	}
	return PredicateType
}

// validateReceipt returns an error for a basis without a receipt, a receipt without a basis, or an invalid
// receipt.
func (p Predicate) validateReceipt() error {
	r := p.Receipt
	switch {
	case r == nil && p.Basis == "":
		return nil
	case r == nil || p.Basis != BasisReceipt && p.Basis != BasisBoth:
		return fmt.Errorf("expected a basis of %q or %q with a receipt, or neither, got basis %q", BasisReceipt, BasisBoth,
			p.Basis)
	case r.Steps == nil || len(r.Steps) > MaxReceiptSteps:
		return fmt.Errorf("expected a receipt of at most %d steps, got %d", MaxReceiptSteps, len(r.Steps))
	case r.Created.Format(time.RFC3339Nano) != r.Created.UTC().Format(time.RFC3339):
		return fmt.Errorf("expected a time in UTC and whole seconds, got %s", r.Created.Format(time.RFC3339Nano))
	}
	return nil
}

// digests returns the digests in the receipt.
func (p Predicate) receiptDigests() []string {
	var digests []string
	if p.Receipt == nil {
		return nil
	}
	for _, s := range p.Receipt.Steps {
		if s.Message != "" {
			digests = append(digests, s.Message)
		}
	}
	return digests
}
