// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// inCarrier changes one carrier of the first step.
func inCarrier(name string, change func(string) string) func(*verifytest.Run) {
	return func(r *verifytest.Run) { r.Steps[0].Carriers = func(c map[string]string) { c[name] = change(c[name]) } }
}

// highS replaces the s of a signature r‖s by the other valid one.
func highS(signature string) string {
	b, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		panic(err)
	}
	s := new(big.Int).SetBytes(b[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(b[32:])
	return base64.RawURLEncoding.EncodeToString(b)
}

// otherKey returns the SPKI of another key in base64url.
func otherKey(curve elliptic.Curve) string {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(der)
}

// algorithm replaces the algorithm in a manifest of format v2.
func algorithm(a byte) func(string) string {
	return func(manifest string) string {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(manifest, "v2:"))
		if err != nil {
			panic(err)
		}
		b[2] = a
		return "v2:" + base64.RawURLEncoding.EncodeToString(b)
	}
}

// inDigest changes the result IMAGE_DIGEST in the first step's message.
func inDigest(change func(string) string) func(*v1.TaskRun) {
	return changeMessage(0, func(entries []result.RunResult) []result.RunResult {
		for i := range entries {
			if entries[i].Key == "IMAGE_DIGEST" {
				entries[i].Value = change(entries[i].Value)
			}
		}
		return entries
	})
}

func to(value string) func(string) string { return func(string) string { return value } }

func TestKeyBound(t *testing.T) {
	key := signedAs(v2Format, byKey)
	signature, public := signing.CarrierManifestSignature, signing.CarrierPublicKey
	failed := func(sign func(*verifytest.Run), checks ...string) verdictCase {
		return verdictCase{sign: all(key, sign), want: verify.Failed, checks: checks}
	}
	audience := func(list ...string) func(*verifytest.Run) { return claims(func(c map[string]any) { c["aud"] = list }) }
	runVerdictCases(t, map[string]verdictCase{
		"untouched":         {sign: key, want: verify.Verified},
		"high S":            failed(inCarrier(signature, highS), "signature"),
		"signature cut off": failed(inCarrier(signature, func(s string) string { return s[:len(s)-4] }), "signature"),
		"ASN.1 signature": failed(inCarrier(signature, func(s string) string { return "MEUC" + s[:68] + "AA" }),
			"signature"),
		"padded signature": failed(inCarrier(signature, func(s string) string { return s + "==" }), "signature"),
		"line break": failed(inCarrier(signature, func(s string) string { return s[:4] + "\n" + s[4:] }),
			"signature"),
		"another signature": failed(inCarrier(signature,
			to(base64.RawURLEncoding.EncodeToString(append(make([]byte, 63), 1)))), "payload"),
		"zero signature": failed(inCarrier(signature, to(base64.RawURLEncoding.EncodeToString(make([]byte, 64)))),
			"payload"),
		"another key":      failed(inCarrier(public, to(otherKey(elliptic.P256()))), "token"),
		"P-384":            failed(inCarrier(public, to(otherKey(elliptic.P384()))), "key"),
		"key with a tail":  failed(inCarrier(public, func(s string) string { return s + "A" }), "key"),
		"no key":           failed(inCarrier(public, to("")), "key"),
		"standard base64":  failed(inCarrier(public, func(s string) string { return s + "=" }), "key"),
		"payload audience": failed(audience(signing.PayloadAudience(signing.AudiencePrefix, signing.Digest{})), "token"),
		"fixed audience":   failed(audience(signing.AudiencePrefix), "token"),
		"digest of no key": failed(audience(signing.KeyAudience(signing.AudiencePrefix, nil)), "token"),
		"credential":       failed(audience(verifytest.Issuer), "credential-leak"),
		"another value": {
			sign: key, tamper: inDigest(to("sha256:1")), want: verify.Failed,
			checks: []string{"payload", "results IMAGE_DIGEST"},
		},
		"another algorithm": failed(inCarrier(signing.CarrierManifest, algorithm(2)), "format"),
		"no signature at all": failed(func(r *verifytest.Run) {
			r.Steps[0].Carriers = func(c map[string]string) { delete(c, signature) }
		}, "format"),
		"one token for two steps": failed(func(r *verifytest.Run) {
			for i := range r.Steps {
				r.Steps[i].Claims = func(c map[string]any) { c["jti"] = "the same" }
			}
		}, "token-reuse"),
		"of another pod": failed(bound("pod", "uid", "00000000-0000-4000-8000-000000000000"), "pod"),
	})
}

// A token that is bound to an audience only proves nothing by itself: anyone who reads it can sign with it.
func TestAudienceOnly(t *testing.T) {
	unproven := []string{"assurance"}
	cases := map[string]verdictCase{}
	for name, format := range map[string]signing.Format{"v1": v1Format, "v2": v2Format} {
		sign := signedAs(format, byAudience)
		cases[name+" offline"] = verdictCase{sign: sign, want: verify.Indeterminate, checks: unproven}
		cases[name+" live, nobody to ask"] = verdictCase{
			sign: sign, facts: verify.Facts{Live: true}, want: verify.Indeterminate, checks: unproven,
		}
		cases[name+" tampered"] = verdictCase{
			sign: sign, tamper: inDigest(to("sha256:1")), want: verify.Failed,
			checks: []string{"payload", "results IMAGE_DIGEST"},
		}
	}
	cases["v1 tampered"] = verdictCase{
		sign: signedAs(v1Format, byAudience), tamper: inDigest(to("sha256:1")),
		want: verify.Failed, checks: []string{"payload IMAGE_DIGEST", "results IMAGE_DIGEST"},
	}
	runVerdictCases(t, cases)
}

// reviewer is an API server that always gives the same answer.
type reviewer struct {
	answer verify.Review
	err    error

	audiences []string // that were asked about
}

func (r *reviewer) Review(_ context.Context, token, audience string) (verify.Review, error) {
	if strings.Count(token, ".") != 2 {
		return verify.Review{}, errors.New("no token")
	}
	r.audiences = append(r.audiences, audience)
	return r.answer, r.err
}

func TestTokenReview(t *testing.T) {
	yes := verify.Review{
		Authenticated: true, Username: "system:serviceaccount:ci:builder", PodName: "build-pod",
		PodUID: "3db15e48-971f-4815-84b3-272e52f61a10",
	}
	with := func(change func(*verify.Review)) verify.Review {
		answer := yes
		change(&answer)
		return answer
	}
	live := verify.Facts{Live: true}
	gone := verify.Facts{Live: true, Pod: &verify.PodFacts{}}
	unknownKey := func(r *verifytest.Run) {
		for i := range r.Steps {
			r.Steps[i].Token = func(c map[string]any) string {
				token, err := theCluster().TokenWith(map[string]any{"alg": "RS256", "kid": "rotated"}, c)
				if err != nil {
					panic(err)
				}
				return token
			}
		}
	}
	audienceOnly := signedAs(v2Format, byAudience)
	for name, c := range map[string]struct {
		sign   func(*verifytest.Run)
		answer verify.Review
		err    error
		facts  verify.Facts
		asked  int
		want   verdictCase
	}{
		"audience-only":       {audienceOnly, yes, nil, live, 2, verdictCase{want: verify.Verified}},
		"audience-only in v1": {signedAs(v1Format, byAudience), yes, nil, live, 2, verdictCase{want: verify.Verified}},
		"unknown key":         {unknownKey, yes, nil, live, 2, verdictCase{want: verify.Verified}},
		"both":                {all(audienceOnly, unknownKey), yes, nil, live, 2, verdictCase{want: verify.Verified}},
		"known and bound":     {nil, verify.Review{}, nil, live, 0, verdictCase{want: verify.Verified}},
		"from a file": {
			audienceOnly, yes, nil, verify.Facts{}, 0, verdictCase{want: verify.Indeterminate, checks: []string{"assurance"}},
		},
		"no answer": {
			unknownKey, yes, errors.New("timeout"), live, 2, verdictCase{want: verify.Indeterminate, checks: []string{"key"}},
		},
		"pod gone": {
			audienceOnly, verify.Review{Error: "pod not found"}, nil, gone, 2,
			verdictCase{want: verify.Indeterminate, checks: []string{"assurance"}},
		},
		"refused while the pod lives": {
			unknownKey, verify.Review{Error: "invalid"}, nil, live, 2,
			verdictCase{want: verify.Indeterminate, checks: []string{"key"}},
		},
		"another account": {
			audienceOnly, with(func(r *verify.Review) { r.Username = "system:serviceaccount:ci:default" }), nil, live, 2,
			verdictCase{want: verify.Failed, checks: []string{"token"}},
		},
		"another pod": {
			unknownKey, with(func(r *verify.Review) { r.PodUID = "00000000-0000-4000-8000-000000000000" }), nil, live, 2,
			verdictCase{want: verify.Failed, checks: []string{"pod"}},
		},
		"no pod": {
			unknownKey, with(func(r *verify.Review) { r.PodName, r.PodUID = "", "" }), nil, live, 2,
			verdictCase{want: verify.Failed, checks: []string{"pod"}},
		},
		"a credential is shown to nobody": {
			all(unknownKey, func(r *verifytest.Run) {
				for i := range r.Steps {
					r.Steps[i].Claims = func(c map[string]any) { c["aud"] = []string{verifytest.Issuer} }
				}
			}), yes, nil, live, 0, verdictCase{want: verify.Failed, checks: []string{"credential-leak"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			api := &reviewer{answer: c.answer, err: c.err}
			got := newVerifier(t, verify.WithReviewer(api)).TaskRun(t.Context(), newTaskRun(t, c.sign), c.facts)
			compareVerdict(t, c.want, got)
			if len(api.audiences) != c.asked {
				t.Errorf("asked about %q, want %d questions", api.audiences, c.asked)
			}
			for _, audience := range api.audiences {
				if !strings.HasPrefix(audience, signing.AudiencePrefix) {
					t.Errorf("asked about the audience %q", audience)
				}
			}
			if verified := got.Verdict == verify.Verified; verified && got.MissingKey != "" {
				t.Errorf("verified, yet key %q is missing", got.MissingKey)
			}
		})
	}
}
