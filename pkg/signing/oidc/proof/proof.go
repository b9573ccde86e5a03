// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
)

// proof is the token of one step, with its ephemeral key. It is not safe for concurrent use.
type proof struct {
	reader   *Reader
	evidence check.Evidence
	raw      string
	token    *oidc.Token
	key      *ecdsa.PublicKey // nil if the scheme has none, or if it cannot be read
	spki     []byte
	keyError error

	run        check.Run
	scheme     signing.Scheme  // in format v1 known only from the audience
	digest     *signing.Digest // for which the token vouches; nil until its audience is read
	vouches    bool            // the token vouches for the digest, or for the key
	forSigning bool            // no other token may be sent to the API server or shown
}

// Judge judges the token, and asks the API server about it if the keys alone do not prove it.
func (p *proof) Judge(ctx context.Context, run check.Run) check.Judgement {
	p.run = run
	trust, checks := p.reader.judgeToken(p.token, p)
	j := check.Judgement{Checks: checks, Trusted: trust == keyProven, Scheme: p.scheme, Comparable: p.vouches}
	if trust != keyRefuted {
		p.settle(ctx, trust, &j)
	}
	return j
}

// Signed returns the digest in the token's audience, or the ephemeral key.
func (p *proof) Signed() (*signing.Digest, crypto.PublicKey) {
	if p.evidence.Scheme.KeyCarrier() == "" {
		return p.digest, nil
	}
	if p.key == nil {
		return nil, nil
	}
	return nil, p.key
}

// Who returns the token's account. A token with a fixed audience belongs to the pod, and does not vouch for a
// single step.
func (p *proof) Who() check.Identity {
	c := p.token.Claims
	id := check.Identity{Subject: c.Subject, Issuer: c.Issuer, KeyID: p.token.KeyID, PodUID: c.PodUID, Account: c.Subject,
		Token: c.ID}
	if p.scheme == signing.SchemeOIDCAudienceOnly {
		id.Token = ""
	}
	return id
}

// When returns when the token was issued. Anyone who holds a token with a fixed audience can sign later than
// that.
func (p *proof) When() check.SigningTime {
	return check.SigningTime{
		Source: check.TimeFromToken, At: p.token.Claims.IssuedAt, Trusted: p.scheme != signing.SchemeOIDCAudienceOnly,
	}
}

func (p *proof) words() words {
	return words{
		token: check.Token, key: check.Key, signature: check.Signature, algorithm: check.Token,
		name: "the token", kind: "a token", valid: "valid at once",
	}
}

// audience checks that the token is for signing, with the binding that the evidence names. Evidence of format
// v1 names none, so the audience itself decides.
func (p *proof) audience(c oidc.Claims) []check.Check {
	prefix := p.reader.policy.Audience
	fail := func(id check.ID, message string) []check.Check {
		return []check.Check{check.Refuted(id, "the one audience "+p.audienceForm(), fmt.Sprintf("%q", c.Audience), message)}
	}
	switch c.KindOf(prefix) {
	case oidc.AudienceCredential:
		return fail(check.CredentialLeak,
			"critical: the API server itself accepts this token: anyone who reads the TaskRun can act as its service account")
	case oidc.AudienceForeign:
		return fail(check.Token, "the token is not for signing")
	case oidc.AudienceSigning:
	}
	binding, digest, err := c.Binding(prefix)
	if err != nil {
		return fail(check.Token, "the token vouches for nothing that can be read, or for more than one thing")
	}
	if p.evidence.Format == signing.FormatV1 && binding == signing.BindingAudience {
		p.scheme = binding.Scheme()
	}
	if binding.Scheme() != p.scheme {
		return fail(check.Token, "the token does not vouch in the way that the evidence names")
	}
	p.forSigning = true
	return p.binding(digest)
}

// audienceForm describes the audience that the token must have.
func (p *proof) audienceForm() string {
	prefix := p.reader.policy.Audience
	switch {
	case p.evidence.Format == signing.FormatV1:
		return signing.AudienceForm(prefix, signing.AudienceKey, "<digest of the public key>") + " or " + prefix
	case p.scheme == signing.SchemeOIDCPayloadBound:
		return signing.AudienceForm(prefix, signing.AudiencePayload, "<digest>")
	case p.scheme == signing.SchemeOIDCKeyBound:
		return signing.AudienceForm(prefix, signing.AudienceKey, "<digest of the public key>")
	}
	return prefix
}

// binding checks what the token vouches for: the digest itself, or the key next to it.
func (p *proof) binding(digest signing.Digest) []check.Check {
	if p.scheme == signing.SchemeOIDCPayloadBound {
		p.digest, p.vouches = &digest, true
		return nil
	}
	if p.keyError != nil {
		return []check.Check{check.Refuted(check.Key, "an ephemeral key on P-256", p.keyError.Error(),
			"the public key next to the token cannot be read")}
	}
	if got := sha256.Sum256(p.spki); p.scheme == signing.SchemeOIDCKeyBound && got != digest {
		return []check.Check{check.Refuted(check.Token, signing.KeyAudience(p.reader.policy.Audience, p.spki),
			p.token.Claims.Audience[0],
			"the token vouches for another key than the one next to it")}
	}
	p.vouches = true
	return nil
}

// owner checks whose token it is. In format v1, only the token names the pod's UID, so there is nothing to
// compare it with.
func (p *proof) owner(c oidc.Claims) []check.Check {
	return compareClaims("the token is bound to another ",
		claim{check.Token, "namespace", p.run.Namespace, c.Namespace},
		claim{check.Token, "service account", p.run.Account, c.ServiceAccount},
		claim{check.Token, "subject", p.run.ServiceAccount(), c.Subject},
		claim{check.Pod, "pod name", p.run.Pod, c.Pod},
		claim{check.Pod, "pod UID", p.podUID(), c.PodUID})
}

// podUID returns the UID of the pod that the evidence names. In format v1, it is in the token.
func (p *proof) podUID() string {
	if p.evidence.Format == signing.FormatV2 {
		return p.run.PodUID
	}
	return p.token.Claims.PodUID
}

func (p *proof) time(c oidc.Claims) []check.Check {
	return p.run.Within(c.IssuedAt, "the token was issued")
}

// Sound returns the passed checks of a trusted token.
func (p *proof) Sound() []check.Check {
	c := p.token.Claims
	checks := []check.Check{
		check.Passed(check.CredentialLeak, "no token opens the API server"),
		check.Passed(check.Token, fmt.Sprintf("of %s, bound to the pod", c.Subject)),
		check.Passed(check.Key, fmt.Sprintf("%s %s of issuer %s", p.token.Algorithm, p.token.KeyID, c.Issuer)),
	}
	signature := "made by the cluster's issuer"
	switch p.scheme {
	case signing.SchemeOIDCAudienceOnly:
		signature = "made by the key next to the token"
	case signing.SchemeOIDCKeyBound:
		signature = "made by keys that the cluster's issuer vouches for"
	}
	if p.scheme != signing.SchemeOIDCAudienceOnly {
		checks = append(checks, check.Passed(check.TokenReuse, "every step has a token of its own"))
	}
	return append(checks, check.Passed(check.Signature, signature),
		check.Passed(check.Time, "signed at "+c.IssuedAt.Format(check.TimeFormat)+", while the TaskRun ran"))
}
