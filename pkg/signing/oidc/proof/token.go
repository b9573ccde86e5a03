// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
)

// use is what a token is there for: it vouches for a step's evidence, or for a record.
type use interface {
	words() words
	audience(c oidc.Claims) []check.Check // for what it vouches
	owner(c oidc.Claims) []check.Check    // whose it is
	time(c oidc.Claims) []check.Check     // whether it can be of that time
}

// words is how the checks of a use are called and what they say.
type words struct {
	token, key, signature check.ID
	// of a token that is signed in another way than its key's; empty where its signature fails for it
	algorithm check.ID
	name      string // of the token, in a sentence
	kind      string // of the token, as something that is expected
	valid     string // that it is to be, and at once
	suffix    string // behind the ID of a key
	signed    string // behind "when it signed"
}

// keyTrust is what the keyring says of the key that signed a token.
type keyTrust int

const (
	keyRefuted keyTrust = iota // it did not sign, or must not have
	keyUnknown                 // the keyring lacks it
	keyProven
)

// judgeToken judges a token: its key, for what it vouches, whose it is, how long it lives, and when it was
// issued. The claims of a token whose key is refuted are not the issuer's, so that nothing else is looked at.
// An unknown key leaves open whose claims they are: then everything else is still compared, because a
// mismatch refutes the evidence whoever signed it.
func (r *Reader) judgeToken(t *oidc.Token, u use) (keyTrust, []check.Check) {
	trust, checks := r.judgeKey(t, u.words())
	if trust == keyRefuted {
		return trust, checks
	}
	checks = append(checks, u.audience(t.Claims)...)
	checks = append(checks, u.owner(t.Claims)...)
	checks = append(checks, r.judgeLifetime(t.Claims, u.words())...)
	return trust, append(checks, u.time(t.Claims)...)
}

// judgeKey looks the key up and verifies with it.
func (r *Reader) judgeKey(t *oidc.Token, w words) (keyTrust, []check.Check) {
	stale := r.policy.StaleKeys
	refuted := func(id check.ID, expected, got, message string) (keyTrust, []check.Check) {
		return keyRefuted, []check.Check{check.Refuted(id, expected, got, message)}
	}
	key, known := r.policy.Keys[t.Claims.Issuer][t.KeyID]
	if !known {
		if issuer, ok := r.policy.Keys.issuerOf(t.KeyID); ok && !stale {
			return refuted(w.key, issuer, t.Claims.Issuer, fmt.Sprintf("key %s%s belongs to another issuer", t.KeyID, w.suffix))
		}
		return keyUnknown, nil
	}
	switch {
	case key.Invalid != nil:
		return refuted(w.key, "a key that is strong enough for its algorithm", key.Invalid.Error(),
			fmt.Sprintf("key %s%s must not be used", t.KeyID, w.suffix))
	case t.Algorithm != key.Algorithm && w.algorithm != "":
		return refuted(w.algorithm, key.Algorithm, t.Algorithm,
			fmt.Sprintf("key %s%s is for another algorithm", t.KeyID, w.suffix))
	case t.VerifySignature(key.Key) != nil:
		return refuted(w.signature, fmt.Sprintf("a signature by key %s of %s", t.KeyID, t.Claims.Issuer), "another signature",
			w.name+" was changed, or the cluster's issuer did not sign it")
	}
	issued := t.Claims.IssuedAt
	if !key.NotAfter.IsZero() && issued.After(key.NotAfter.Add(check.RotationTolerance)) {
		if stale {
			return keyUnknown, nil // it may be in use again
		}
		return refuted(w.key, w.kind+" from before "+key.NotAfter.Format(check.TimeFormat), issued.Format(check.TimeFormat),
			fmt.Sprintf("key %s was retired when it signed%s", t.KeyID, w.signed))
	}
	if issued.Before(key.NotBefore.Add(-check.RotationTolerance)) {
		return keyProven, []check.Check{{
			ID: w.key, Status: check.Note,
			Expected: w.kind + " from after " + key.NotBefore.Format(check.TimeFormat), Got: issued.Format(check.TimeFormat),
			Message: fmt.Sprintf("key %s was first seen later than it signed", t.KeyID),
		}}
	}
	return keyProven, nil
}

// judgeLifetime checks that the token was valid at once and for no longer than the policies allow.
func (r *Reader) judgeLifetime(c oidc.Claims, w words) []check.Check {
	lifetime := c.Expiry.Sub(c.IssuedAt)
	if lifetime > 0 && lifetime <= r.policy.Lifetime && !c.NotBefore.After(c.IssuedAt) {
		return nil
	}
	return []check.Check{check.Refuted(w.token, fmt.Sprintf("%s, for at most %s", w.valid, r.policy.Lifetime),
		fmt.Sprintf("valid for %s", lifetime), w.name+" lives longer than the policies allow")}
}

// claim is what a token, or the API server about a token, says of its owner.
type claim struct {
	id                  check.ID
	name, expected, got string
}

// compareClaims refutes every claim that is another one. message ends before the claim's name.
func compareClaims(message string, claims ...claim) []check.Check {
	var checks []check.Check
	for _, c := range claims {
		if c.expected != c.got {
			checks = append(checks, check.Refuted(c.id, fmt.Sprintf("%q", c.expected), fmt.Sprintf("%q", c.got), message+c.name))
		}
	}
	return checks
}
