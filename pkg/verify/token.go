// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
)

// timeFormat shows times to people: RFC 3339 in UTC.
const timeFormat = time.RFC3339

const (
	// runTolerance is how far a token's time may be outside of the run: the API server's clock wrote both, but it stores
	// whole seconds, and several of them need not agree.
	runTolerance = 60 * time.Second
	// rotationTolerance is how long after its last sighting, and before its first, a key may have signed: keys are polled hourly.
	rotationTolerance = time.Hour
)

// verifyToken checks the token of a unit and what it vouches for.
func (j *judge) verifyToken(ctx context.Context, u *unit) {
	token, err := oidc.ParseToken(u.step.carriers[signing.CarrierToken])
	if err != nil {
		j.refute(u, CheckToken, "a service account token", err.Error(), "the token cannot be read")
		return
	}
	u.token, u.at = token, token.Claims.IssuedAt
	trust := j.verifySignature(u)
	if trust == keyRefuted {
		return // the claims are not the issuer's
	}
	digest, ok := j.verifyAudience(u)
	if ok {
		j.verifyBinding(u, digest)
	}
	j.verifyClaims(u)
	j.verifyLifetime(u)
	j.verifyTime(u, token.Claims.IssuedAt, "the token was issued")
	j.settleToken(ctx, u, trust, ok)
}

// keyTrust is what the trust bundle says of the key that signed a token.
type keyTrust int

const (
	keyRefuted keyTrust = iota // it did not sign, or must not have
	keyUnknown                 // the bundle lacks it
	keyProven
)

// verifySignature looks the key up and verifies with it. An unknown key leaves open whose claims they are: then everything
// else is still compared, because a mismatch refutes the evidence whoever signed it.
func (j *judge) verifySignature(u *unit) keyTrust {
	t := u.token
	key, known := j.v.keys[t.Claims.Issuer][t.KeyID]
	if !known {
		if issuer, ok := j.v.keys.issuerOf(t.KeyID); ok && !j.v.staleKeys {
			j.refute(u, CheckKey, issuer, t.Claims.Issuer, fmt.Sprintf("key %s belongs to another issuer", t.KeyID))
			return keyRefuted
		}
		return keyUnknown
	}
	switch {
	case key.invalid != nil:
		j.refute(u, CheckKey, "a key that is strong enough for its algorithm", key.invalid.Error(),
			fmt.Sprintf("key %s must not be used", t.KeyID))
		return keyRefuted
	case t.Algorithm != key.Algorithm:
		j.refute(u, CheckToken, key.Algorithm, t.Algorithm, fmt.Sprintf("key %s is for another algorithm", t.KeyID))
		return keyRefuted
	case t.VerifySignature(key.Key) != nil:
		j.refute(u, CheckSignature, fmt.Sprintf("a signature by key %s of %s", t.KeyID, t.Claims.Issuer), "another signature",
			"the token was changed, or the cluster's issuer did not sign it")
		return keyRefuted
	}
	return j.verifyKeyWindow(u, key)
}

// verifyKeyWindow compares when the key was seen in use with when it signed.
func (j *judge) verifyKeyWindow(u *unit, key issuerKey) keyTrust {
	issued := u.token.Claims.IssuedAt
	if !key.notAfter.IsZero() && issued.After(key.notAfter.Add(rotationTolerance)) {
		if j.v.staleKeys {
			return keyUnknown // it may be in use again
		}
		j.refute(u, CheckKey, "a token from before "+key.notAfter.Format(timeFormat), issued.Format(timeFormat),
			fmt.Sprintf("key %s was retired when it signed", u.token.KeyID))
		return keyRefuted
	}
	if issued.Before(key.notBefore.Add(-rotationTolerance)) {
		j.add(Check{
			ID: CheckKey, Status: Note, Step: u.step.state.Container,
			Expected: "a token from after " + key.notBefore.Format(timeFormat), Got: issued.Format(timeFormat),
			Message: fmt.Sprintf("key %s was first seen later than it signed", u.token.KeyID),
		})
	}
	u.trusted = true
	return keyProven
}

// verifyAudience checks that the token is for signing, in the way that the evidence says, and returns the digest for which it
// was issued. Format v1 says no way: there, the audience itself does.
func (j *judge) verifyAudience(u *unit) (signing.Digest, bool) {
	c := u.token.Claims
	fail := func(id CheckID, message string) (signing.Digest, bool) {
		j.refute(u, id, "the one audience "+j.audienceForm(u), fmt.Sprintf("%q", c.Audience), message)
		return signing.Digest{}, false
	}
	switch c.KindOf(j.v.audiencePrefix) {
	case oidc.AudienceCredential:
		return fail(CheckCredentialLeak,
			"critical: the API server itself accepts this token: whoever reads the TaskRun can act as its service account")
	case oidc.AudienceForeign:
		return fail(CheckToken, "the token is not for signing")
	case oidc.AudienceSigning:
	}
	binding, digest, err := c.Binding(j.v.audiencePrefix)
	if err != nil {
		return fail(CheckToken, "the token vouches for nothing that can be read, or for more than one thing")
	}
	if u.kind.format == signing.FormatV1 && binding == signing.BindingAudience {
		u.kind.scheme = signing.SchemeOIDCAudienceOnly
	}
	if binding.Scheme() != u.kind.scheme {
		return fail(CheckToken, "the token does not vouch in the way that the evidence says")
	}
	return digest, true
}

// audienceForm shows the audience that the unit's token must have.
func (j *judge) audienceForm(u *unit) string {
	prefix := j.v.audiencePrefix
	switch {
	case u.kind.format == signing.FormatV1:
		return prefix + ":k:<digest of the public key> or " + prefix
	case u.kind.scheme == signing.SchemeOIDCPayloadBound:
		return prefix + ":p:<digest>"
	case u.kind.scheme == signing.SchemeOIDCKeyBound:
		return prefix + ":k:<digest of the public key>"
	}
	return prefix
}

// verifyBinding follows what the token vouches for to what the TaskRun shows.
func (j *judge) verifyBinding(u *unit, digest signing.Digest) {
	if u.kind.scheme == signing.SchemeOIDCPayloadBound {
		j.compareDigest(u, digest)
		return
	}
	key, spki, err := u.publicKey()
	if err != nil {
		j.refute(u, CheckKey, "an ephemeral key on P-256", err.Error(), "the public key that stands beside the token cannot be read")
		return
	}
	if got := sha256.Sum256(spki); u.kind.scheme == signing.SchemeOIDCKeyBound && got != digest {
		j.refute(u, CheckToken, signing.KeyAudience(j.v.audiencePrefix, spki), u.token.Claims.Audience[0],
			"the token vouches for another key than the one that stands beside it")
		return
	}
	j.verifyDetached(u, key)
}

// publicKey reads the ephemeral key of a unit, and returns its DER form too.
func (u *unit) publicKey() (*ecdsa.PublicKey, []byte, error) {
	decode := signing.DecodeBase64URL
	if u.kind.format == signing.FormatV1 {
		decode = signing.DecodeBase64
	}
	der, err := decode(u.step.carriers[signing.CarrierPublicKey])
	if err != nil {
		return nil, nil, fmt.Errorf("decoding the public key: %w", err)
	}
	key, err := oidc.ParsePublicKey(der)
	return key, der, err
}

// subject is the account of the TaskRun's pod.
func (j *judge) subject() string {
	return "system:serviceaccount:" + j.tr.Namespace + ":" + j.account()
}

func (j *judge) account() string { return cmp.Or(j.tr.Spec.ServiceAccountName, "default") }

// verifyClaims checks whose token it is. In format v1 nothing else names the pod, so that its UID cannot be compared.
func (j *judge) verifyClaims(u *unit) {
	c := u.token.Claims
	j.compareClaims(u, "the token is bound to another ", []claim{
		{CheckToken, "namespace", j.tr.Namespace, c.Namespace},
		{CheckToken, "service account", j.account(), c.ServiceAccount},
		{CheckToken, "subject", j.subject(), c.Subject},
		{CheckPod, "pod name", j.tr.Status.PodName, c.Pod},
		{CheckPod, "pod UID", u.podUID(), c.PodUID},
	})
}

// claim is what a token, or the API server about a token, says of its owner.
type claim struct {
	id                  CheckID
	name, expected, got string
}

// compareClaims refutes a unit for every claim that is another one. message ends before the claim's name.
func (j *judge) compareClaims(u *unit, message string, claims []claim) {
	for _, c := range claims {
		if c.expected != c.got {
			j.refute(u, c.id, fmt.Sprintf("%q", c.expected), fmt.Sprintf("%q", c.got), message+c.name)
		}
	}
}

// verifyLifetime checks that the token was valid at once and for no longer than the policies allow.
func (j *judge) verifyLifetime(u *unit) {
	c := u.token.Claims
	lifetime := c.Expiry.Sub(c.IssuedAt)
	if lifetime <= 0 || lifetime > j.v.lifetime || c.NotBefore.After(c.IssuedAt) {
		j.refute(u, CheckToken, fmt.Sprintf("valid at once, for at most %s", j.v.lifetime), fmt.Sprintf("valid for %s", lifetime),
			"the token lives longer than the policies allow")
	}
}
