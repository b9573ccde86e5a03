// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"context"
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
)

// settle asks the API server about a token that the keys alone do not prove, and adds checks for what is
// still undecided.
func (p *proof) settle(ctx context.Context, trust keyTrust, j *check.Judgement) {
	fixed := p.scheme == signing.SchemeOIDCAudienceOnly
	if trust == keyProven && !fixed {
		return
	}
	outcome := "the API server was not asked"
	if p.forSigning && p.run.Live && p.reader.policy.Reviewer != nil {
		var settled bool
		if settled, outcome = p.review(ctx, j); settled {
			return
		}
	}
	t := p.token
	if trust == keyUnknown {
		j.MissingKey = t.KeyID
		j.Checks = append(j.Checks, check.Doubted(check.Key,
			fmt.Sprintf("key %s of issuer %s in the trust bundle", t.KeyID, t.Claims.Issuer),
			"no such key; "+outcome, "the trust bundle lacks the key: use one of this cluster, from before the key was retired"))
	}
	if fixed {
		j.Checks = append(j.Checks, check.Doubted(check.Assurance,
			"a token that is bound to what was signed, or the API server's answer while the pod lives",
			"a token with a fixed audience; "+outcome,
			"anyone who could read the token can have signed: use the binding payload or key, or verify live"))
	}
}

// review asks the API server about the token. settled reports whether the answer decided, for or against; if
// not, outcome explains why.
func (p *proof) review(ctx context.Context, j *check.Judgement) (settled bool, outcome string) {
	answer, err := p.reader.policy.Reviewer.Review(ctx, p.raw, p.token.Claims.Audience[0])
	switch {
	case err != nil:
		return false, fmt.Sprintf("the API server did not answer: %v", err)
	case !answer.Authenticated && p.run.PodGone:
		return false, "the API server no longer accepts the token, and the pod is gone: " + answer.Error
	case !answer.Authenticated:
		return false, "the API server does not accept the token: " + answer.Error
	}
	j.Trusted = true
	j.Checks = append(j.Checks, compareClaims("by the API server's answer, the token is of another ",
		claim{check.Token, "account", p.run.ServiceAccount(), answer.Username},
		claim{check.Pod, "pod", p.run.Pod, answer.PodName},
		claim{check.Pod, "pod UID", p.podUID(), answer.PodUID})...)
	j.Checks = append(j.Checks, check.Check{
		ID: check.Key, Status: check.Note, Message: "the API server itself vouches for the token (TokenReview)",
	})
	return true, ""
}
