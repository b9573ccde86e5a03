// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
)

// timeFormat shows times to people: RFC 3339 in UTC.
const timeFormat = time.RFC3339

const (
	// runTolerance is how far a token's time may be outside of the run: the API server's clock wrote both, but it stores
	// whole seconds, and several of them need not agree.
	runTolerance = 60 * time.Second
	// rotationTolerance is how long after its last sighting a key may still have signed: keys are polled hourly.
	rotationTolerance = time.Hour
)

// verifyToken checks the token of a unit and what it vouches for.
func (j *judge) verifyToken(u *unit) {
	container := u.step.state.Container
	token, err := oidc.ParseToken(u.step.carriers[signing.CarrierToken])
	if err != nil {
		j.add(Check{
			ID: CheckToken, Status: Fail, Step: container, Expected: "a service account token", Got: err.Error(),
			Message: "the token cannot be read",
		})
		return
	}
	u.token = token
	if !j.verifySignature(u) {
		return // the claims are not the issuer's
	}
	if digest, ok := j.verifyAudience(u); ok {
		j.verifyPayload(u, digest)
	}
	j.verifyClaims(u)
	j.verifyTime(u)
}

// verifySignature looks the key up and verifies with it. It is false when the signature is known to be wrong. An unknown
// key leaves that open: then everything else is still compared, because a mismatch refutes the evidence whoever signed it.
func (j *judge) verifySignature(u *unit) bool {
	container, t := u.step.state.Container, u.token
	key, known := j.v.keys[t.Claims.Issuer][t.KeyID]
	if !known {
		return j.unknownKey(u)
	}
	fail := func(id CheckID, expected, got, message string) bool {
		j.add(Check{ID: id, Status: Fail, Step: container, Expected: expected, Got: got, Message: message})
		return false
	}
	if err := key.Validate(); err != nil {
		return fail(CheckKey, "a key that is strong enough for its algorithm", err.Error(),
			fmt.Sprintf("key %s must not be used", t.KeyID))
	}
	if t.Algorithm != key.Algorithm {
		return fail(CheckToken, key.Algorithm, t.Algorithm, fmt.Sprintf("key %s is for another algorithm", t.KeyID))
	}
	if err := t.VerifySignature(key.Key); err != nil {
		return fail(CheckSignature, fmt.Sprintf("a signature by key %s of %s", t.KeyID, t.Claims.Issuer),
			"another signature", "the token was changed, or the cluster's issuer did not sign it")
	}
	if !key.notAfter.IsZero() && t.Claims.IssuedAt.After(key.notAfter.Add(rotationTolerance)) {
		return fail(CheckKey, "a token from before "+key.notAfter.Format(timeFormat), t.Claims.IssuedAt.Format(timeFormat),
			fmt.Sprintf("key %s was retired when it signed", t.KeyID))
	}
	if t.Claims.IssuedAt.Before(key.notBefore) {
		j.add(Check{
			ID: CheckKey, Status: Note, Step: container, Expected: "a token from after " + key.notBefore.Format(timeFormat),
			Got: t.Claims.IssuedAt.Format(timeFormat), Message: fmt.Sprintf("key %s was first seen later than it signed", t.KeyID),
		})
	}
	return true
}

// unknownKey says why there is no key to verify with.
func (j *judge) unknownKey(u *unit) bool {
	t := u.token
	if issuer, ok := j.v.keys.issuerOf(t.KeyID); ok {
		j.add(Check{
			ID: CheckKey, Status: Fail, Step: u.step.state.Container, Expected: issuer, Got: t.Claims.Issuer,
			Message: fmt.Sprintf("key %s belongs to another issuer", t.KeyID),
		})
		return false
	}
	j.missingKey = t.KeyID
	j.add(Check{
		ID: CheckKey, Status: Unknown, Step: u.step.state.Container,
		Expected: fmt.Sprintf("key %s of issuer %s in the trust bundle", t.KeyID, t.Claims.Issuer), Got: "no such key",
		Message: "the trust bundle lacks the key: use one of this cluster, from before the key was retired",
	})
	return true
}

// verifyAudience returns the digest for which the token was issued.
func (j *judge) verifyAudience(u *unit) (signing.Digest, bool) {
	c := u.token.Claims
	fail := func(id CheckID, message string) (signing.Digest, bool) {
		j.add(Check{
			ID: id, Status: Fail, Step: u.step.state.Container, Expected: "the one audience " + j.v.audiencePrefix + ":p:<digest>",
			Got: fmt.Sprintf("%q", c.Audience), Message: message,
		})
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
	digest, err := c.PayloadDigest(j.v.audiencePrefix)
	if err != nil {
		return fail(CheckToken, "the token vouches for no payload, or for more than one")
	}
	return digest, true
}

// verifyClaims checks whose token it is.
func (j *judge) verifyClaims(u *unit) {
	c := u.token.Claims
	account := cmp.Or(j.tr.Spec.ServiceAccountName, "default")
	for _, claim := range []struct {
		id                  CheckID
		name, expected, got string
	}{
		{CheckToken, "namespace", j.tr.Namespace, c.Namespace},
		{CheckToken, "service account", account, c.ServiceAccount},
		{CheckToken, "subject", "system:serviceaccount:" + j.tr.Namespace + ":" + account, c.Subject},
		{CheckPod, "pod name", j.tr.Status.PodName, c.Pod},
		{CheckPod, "pod UID", u.header.PodUID.String(), c.PodUID},
	} {
		if claim.expected != claim.got {
			j.add(Check{
				ID: claim.id, Status: Fail, Step: u.step.state.Container, Expected: fmt.Sprintf("%q", claim.expected),
				Got: fmt.Sprintf("%q", claim.got), Message: "the token is bound to another " + claim.name,
			})
		}
	}
}

// verifyTime checks when the token was issued. The times in the TaskRun can be written by whoever writes its status: they
// refute, and never prove.
func (j *judge) verifyTime(u *unit) {
	c, container := u.token.Claims, u.step.state.Container
	if lifetime := c.Expiry.Sub(c.IssuedAt); lifetime <= 0 || lifetime > j.v.lifetime || c.NotBefore.After(c.IssuedAt) {
		j.add(Check{
			ID: CheckToken, Status: Fail, Step: container, Expected: fmt.Sprintf("valid at once, for at most %s", j.v.lifetime),
			Got: fmt.Sprintf("valid for %s", lifetime), Message: "the token lives longer than the policies allow",
		})
	}
	start, end := j.tr.CreationTimestamp.Time, j.now
	if at := j.tr.Status.CompletionTime; at != nil && at.Time.Before(end) {
		end = at.Time
	}
	earliest, latest := start.Add(-runTolerance), end.Add(j.v.skew)
	check := Check{
		ID: CheckTime, Status: Fail, Step: container, Got: "issued at " + c.IssuedAt.Format(timeFormat),
		Expected: fmt.Sprintf("between %s and %s", earliest.UTC().Format(timeFormat), latest.UTC().Format(timeFormat)),
		Message:  "the token was not issued while the TaskRun ran",
	}
	if c.IssuedAt.Before(earliest) || c.IssuedAt.After(latest) {
		j.add(check)
		return
	}
	if at := j.tr.Status.StartTime; at != nil {
		start = at.Time
	}
	if c.IssuedAt.Before(start.Add(-runTolerance)) || c.IssuedAt.After(end.Add(runTolerance)) {
		check.Status, check.Message = Warn, "the token was issued outside of the run: compare the clocks of the cluster"
		check.Expected = fmt.Sprintf("between %s and %s", start.UTC().Format(timeFormat), end.UTC().Format(timeFormat))
		j.add(check)
	}
}

// identity is who signed. Call it for a verified TaskRun.
func (j *judge) identity() *Identity {
	first := j.units[0]
	id := &Identity{
		Subject: first.token.Claims.Subject, Issuer: first.token.Claims.Issuer, PodUID: types.UID(first.header.PodUID.String()),
	}
	for _, u := range j.units {
		id.KeyIDs = append(id.KeyIDs, u.token.KeyID)
	}
	slices.Sort(id.KeyIDs)
	id.KeyIDs = slices.Compact(id.KeyIDs)
	return id
}

// signingTime is when the last step signed. Call it for a verified TaskRun.
func (j *judge) signingTime() *SigningTime {
	last := slices.MaxFunc(j.units, func(a, b *unit) int { return a.token.Claims.IssuedAt.Compare(b.token.Claims.IssuedAt) })
	return &SigningTime{Source: "token", At: last.token.Claims.IssuedAt, Trusted: true}
}
