// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"context"
	"slices"

	"github.com/tektoncd/pipeline/pkg/result"
)

// ParseBackend returns the backend called name, or an error that lists the known ones.
func ParseBackend(name string) (Backend, error) { return parseName(name, "backend", Backends()) }

// Assurance is what the identity behind evidence proves.
type Assurance string

// The assurances, from an identity that vouches for exactly one payload down to format v1.
const (
	AssurancePayloadBound     Assurance = "payload-bound"
	AssuranceKeyBound         Assurance = "key-bound"
	AssuranceReceipt          Assurance = "receipt"
	AssuranceAudienceOnly     Assurance = "audience-only"
	AssuranceWorkloadIdentity Assurance = "workload-identity"
	AssuranceServiceAccount   Assurance = "service-account"
	AssuranceLegacy           Assurance = "legacy"
)

// Assurances lists every assurance, the strongest first. Workload identities, the keys that a token vouches
// for, and certificates for code signing bind a key to the pod, and rank in this order.
func Assurances() []Assurance {
	return []Assurance{
		AssurancePayloadBound, AssuranceKeyBound, AssuranceWorkloadIdentity, AssuranceServiceAccount,
		AssuranceReceipt, AssuranceAudienceOnly, AssuranceLegacy,
	}
}

// ParseAssurance returns the assurance called name, or an error that lists the known ones.
func ParseAssurance(name string) (Assurance, error) {
	return parseName(name, "assurance", Assurances())
}

// AtLeast reports whether a is as strong as minimum. An empty or unknown assurance is weaker than every other.
func (a Assurance) AtLeast(minimum Assurance) bool {
	return slices.Contains(Assurances(), a) && slices.Index(Assurances(), a) <= slices.Index(Assurances(), minimum)
}

// EntrypointerClient is the in-pod half of a backend, named as in TEP-0089.
type EntrypointerClient interface {
	// Sign returns the carriers that vouch for results, to be appended to the step's termination message. A
	// failure with a reason for the manifest wraps an *UnsignedError.
	Sign(ctx context.Context, results []result.RunResult) ([]result.RunResult, error)
	// Close releases the client's resources.
	Close() error
}
