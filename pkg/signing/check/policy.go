// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"fmt"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Tokens defines which tokens are signing tokens.
type Tokens struct {
	Audience string        // first part of their audience
	Lifetime time.Duration // their longest lifetime, from iat to exp
}

// DefaultTokens are the signing tokens of a cluster whose settings do not change them.
func DefaultTokens() Tokens {
	return Tokens{Audience: signing.AudiencePrefix, Lifetime: signing.DefaultTokenLifetime}
}

// Policy is what identities are trusted for, in addition to the keys in the trust bundle.
type Policy struct {
	Tokens
	StaleKeys bool     // the keys may be older than the evidence, such as those of a running process
	Reviewer  Reviewer // asks a live cluster; nil if that is not allowed
}

// Validate returns an error for a policy that no evidence fulfils.
func (p Policy) Validate() error {
	switch {
	case p.Lifetime <= 0:
		return fmt.Errorf("expected a token lifetime above zero, got %s", p.Lifetime)
	case p.Audience == "":
		return fmt.Errorf("the audience prefix is empty")
	}
	return nil
}

// Reviewer asks the cluster's API server about a token (authentication.k8s.io/v1 TokenReview). It must be safe for
// concurrent use.
type Reviewer interface {
	// Review asks whether token is valid for audience, which is always the token's own signing audience.
	// Authenticated must be true only if the answer's audiences hold that audience. An error means that there
	// was no answer.
	Review(ctx context.Context, token, audience string) (Review, error)
}

// Review is the answer of the API server.
type Review struct {
	Authenticated bool
	Username      string
	PodName       string // of the extra key authentication.kubernetes.io/pod-name
	PodUID        string // of the extra key authentication.kubernetes.io/pod-uid
	Error         string // why it is not authenticated
}
