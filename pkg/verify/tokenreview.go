// SPDX-License-Identifier: Apache-2.0

package verify

import "context"

// TokenReviewer asks the cluster's API server about a token (authentication.k8s.io/v1 TokenReview). It must be safe for
// concurrent use.
type TokenReviewer interface {
	// Review asks whether token is valid for audience, which is always the token's own signing audience. An error says that
	// the question got no answer.
	Review(ctx context.Context, token, audience string) (TokenReview, error)
}

// TokenReview is the answer of an API server.
type TokenReview struct {
	Authenticated bool
	Username      string
	PodName       string // of the extra key authentication.kubernetes.io/pod-name
	PodUID        string // of the extra key authentication.kubernetes.io/pod-uid
	Error         string // why it is not authenticated
}

// WithTokenReviewer lets the API server judge a token of a live TaskRun (Facts.Live) that the trust bundle alone cannot
// prove: one of an unknown key, or one that is bound to nothing but an audience. The default is to ask nobody.
func WithTokenReviewer(reviewer TokenReviewer) Option {
	return func(v *Verifier) { v.reviewer = reviewer }
}
