// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Policy is what identities are trusted for, in addition to the keys in the trust bundle.
type Policy struct {
	signing.Tokens
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

// Reviewer asks the cluster's API server whether it accepts a token (API group authentication.k8s.io). It must be safe
// for concurrent use.
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
