// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"context"
	"fmt"
	"strings"

	"github.com/tektoncd/pipeline/pkg/result"
)

// Backend names a source of identity for signing, the value of the key enforce-nonfalsifiability.
type Backend string

// The backends of TEP-0089 as tekton-sign implements them.
const (
	BackendNone            Backend = "none"
	BackendSPIRE           Backend = "spire"
	BackendOIDCSAToken     Backend = "oidc-sa-token"
	BackendSigstoreKeyless Backend = "sigstore-keyless"
)

// Backends lists every known backend in the order in which help texts show them.
func Backends() []Backend {
	return []Backend{BackendNone, BackendOIDCSAToken, BackendSPIRE, BackendSigstoreKeyless}
}

// ParseBackend returns the backend called name, or an error that lists the known ones.
func ParseBackend(name string) (Backend, error) {
	names := make([]string, 0, len(Backends()))
	for _, b := range Backends() {
		if string(b) == name {
			return b, nil
		}
		names = append(names, string(b))
	}
	return "", fmt.Errorf("unknown backend %q: expected one of %s", name, strings.Join(names, ", "))
}

// Assurance says what the identity behind a piece of evidence proves.
type Assurance string

// The assurances, from the identity that vouches for exactly one payload down to format v1.
const (
	AssurancePayloadBound     Assurance = "payload-bound"
	AssuranceKeyBound         Assurance = "key-bound"
	AssuranceAudienceOnly     Assurance = "audience-only"
	AssuranceWorkloadIdentity Assurance = "workload-identity"
	AssuranceServiceAccount   Assurance = "service-account"
	AssuranceLegacy           Assurance = "legacy"
)

// EntrypointerClient is the in-pod half of a backend, named as in TEP-0089.
type EntrypointerClient interface {
	// Sign returns the carriers that vouch for results, to be appended to the step's termination message.
	// A failure that has a reason of its own wraps an *UnsignedError.
	Sign(ctx context.Context, results []result.RunResult) ([]result.RunResult, error)
	// Close releases what the client holds.
	Close() error
}
