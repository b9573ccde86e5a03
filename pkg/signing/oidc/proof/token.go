// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
)

// use is the purpose of a token: it vouches for a step's evidence, or for a record.
type use interface {
	words() words
	audience(c oidc.Claims) []check.Check // checks what the token vouches for
	owner(c oidc.Claims) []check.Check    // checks whose token it is
	time(c oidc.Claims) []check.Check     // checks when it was issued
}

// words are the parts of messages that differ between uses.
type words struct {
	token, key, signature check.ID
	// The failed check of a token with another algorithm than its key's. If it is empty, the check of the
	// signature fails instead.
	algorithm check.ID
	name      string // of the token, in a sentence
	kind      string // of the token, as something that is expected
	valid     string // what a token must be at once
	suffix    string // follows the ID of a key
	signed    string // follows "when it signed"
}

// keyTrust is what the keyring proves about the key that signed a token.
type keyTrust int

const (
	keyRefuted keyTrust = iota // it did not sign, or must not be used
	keyUnknown                 // the keyring lacks it
	keyProven
)

// judgeToken judges a token: its key, what it vouches for, whose it is, its lifetime, and when it was issued.
// If the key is refuted, it does not check the claims, because the issuer did not make them. If the key is
// unknown, it still checks the claims, because a mismatch refutes the evidence no matter who signed it.
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
			return keyUnknown, nil // the issuer may use the key again
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

// claim is a statement about a token's owner, in the token or in the API server's answer.
type claim struct {
	id                  check.ID
	name, expected, got string
}

// compareClaims refutes every claim that differs from the expected one. message ends before the claim's name.
func compareClaims(message string, claims ...claim) []check.Check {
	var checks []check.Check
	for _, c := range claims {
		if c.expected != c.got {
			checks = append(checks, check.Refuted(c.id, fmt.Sprintf("%q", c.expected), fmt.Sprintf("%q", c.got), message+c.name))
		}
	}
	return checks
}
