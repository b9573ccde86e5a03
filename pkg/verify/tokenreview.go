// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TokenReviewer asks the cluster's API server about a token (authentication.k8s.io/v1 TokenReview). It must be safe for
// concurrent use.
type TokenReviewer interface {
	// Review asks whether token is valid for audience, which is always the token's own signing audience. Authenticated must be
	// true only if the answer's audiences hold that audience. An error says that the question got no answer.
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

// settleToken asks the API server about a token that the trust bundle alone does not prove, and says what stays open. forSigning
// says that the token's audience is that of a signing token: no other token is ever shown to anybody.
func (j *judge) settleToken(ctx context.Context, u *unit, trust keyTrust, forSigning bool) {
	fixed := u.kind.scheme == signing.SchemeOIDCAudienceOnly
	if trust == keyProven && !fixed {
		return
	}
	outcome := "the API server was not asked"
	if forSigning && j.facts.Live && j.v.reviewer != nil {
		var settled bool
		if settled, outcome = j.review(ctx, u); settled {
			return
		}
	}
	t := u.token
	if trust == keyUnknown {
		j.missingKey = t.KeyID
		j.doubt(u, CheckKey, fmt.Sprintf("key %s of issuer %s in the trust bundle", t.KeyID, t.Claims.Issuer),
			"no such key; "+outcome, "the trust bundle lacks the key: use one of this cluster, from before the key was retired")
	}
	if fixed {
		j.doubt(u, CheckAssurance, "a token that is bound to what was signed, or the API server's word while the pod lives",
			"a token with a fixed audience; "+outcome,
			"whoever could read the token can have signed: use the binding payload or key, or verify live")
	}
}

// review asks the API server about the unit's token. It reports whether that settled the matter, for or against; if not, it says
// why.
func (j *judge) review(ctx context.Context, u *unit) (settled bool, outcome string) {
	raw, audience := u.step.carriers[signing.CarrierToken], u.token.Claims.Audience[0]
	answer, err := j.v.reviewer.Review(ctx, raw, audience)
	switch {
	case err != nil:
		return false, fmt.Sprintf("the API server did not answer: %v", err)
	case !answer.Authenticated && j.facts.Pod != nil && !j.facts.Pod.Found:
		return false, "the API server accepts the token no more, and the pod is gone: " + answer.Error
	case !answer.Authenticated:
		return false, "the API server does not accept the token: " + answer.Error
	}
	u.trusted = true
	j.compareClaims(u, "the API server says that the token is of another ", []claim{
		{CheckToken, "account", j.subject(), answer.Username},
		{CheckPod, "pod", j.tr.Status.PodName, answer.PodName},
		{CheckPod, "pod UID", u.podUID(), answer.PodUID},
	})
	j.add(Check{
		ID: CheckKey, Status: Note, Step: u.step.state.Container,
		Message: "the API server itself vouches for the token (TokenReview)",
	})
	return true, ""
}
