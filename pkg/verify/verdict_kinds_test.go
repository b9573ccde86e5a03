// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// signedAs makes all steps sign in one way.
func signedAs(format signing.Format, scheme signing.Scheme) func(*verifytest.Run) {
	return func(r *verifytest.Run) { r.Format, r.Scheme = format, scheme }
}

// all applies several changes.
func all(changes ...func(*verifytest.Run)) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		for _, change := range changes {
			change(r)
		}
	}
}

// withKey gives the pod an SVID for this key.
func withKey(key crypto.Signer) func(*verifytest.Run) {
	return func(r *verifytest.Run) { r.Key = key }
}

func newRSAKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEd25519Key(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

const (
	v1Format, v2Format = signing.FormatV1, signing.FormatV2
	byKey              = signing.SchemeOIDCKeyBound
	byAudience         = signing.SchemeOIDCAudienceOnly
	bySPIRE            = signing.SchemeSPIRE
)

// Every kind of evidence verifies, with the assurance that it proves.
func TestKinds(t *testing.T) {
	type shown struct {
		Verdict   verify.Verdict
		Format    signing.Format
		Backend   signing.Backend
		Assurance signing.Assurance
		Subject   string
		PodUID    string
		Time      verify.SigningTime
		Caveats   int
	}
	const account, workload = "system:serviceaccount:ci:builder", "spiffe://ci.example/ns/ci/taskrun/build"
	const pod = "3db15e48-971f-4815-84b3-272e52f61a10"
	signed := verifytest.Start().Add(30e9)
	token := verify.SigningTime{Source: verify.TimeFromToken, At: signed, Trusted: true}
	header := verify.SigningTime{Source: verify.TimeFromHeader, At: signed}
	status := verify.SigningTime{Source: verify.TimeFromStatus, At: signed}
	oidc, spire := signing.BackendOIDCSAToken, signing.BackendSPIRE
	for name, c := range map[string]struct {
		sign func(*verifytest.Run)
		want shown
	}{
		"payload-bound": {signedAs(v2Format, signing.SchemeOIDCPayloadBound), shown{
			verify.Verified, v2Format, oidc, signing.AssurancePayloadBound, account, pod, token, 0,
		}},
		"key-bound": {signedAs(v2Format, byKey), shown{
			verify.Verified, v2Format, oidc, signing.AssuranceKeyBound, account, pod, token, 0,
		}},
		"SVID": {signedAs(v2Format, bySPIRE), shown{
			verify.Verified, v2Format, spire, signing.AssuranceWorkloadIdentity, workload, pod, header, 0,
		}},
		"SVID with RSA": {all(signedAs(v2Format, bySPIRE), withKey(newRSAKey(t, 2048))), shown{
			verify.Verified, v2Format, spire, signing.AssuranceWorkloadIdentity, workload, pod, header, 0,
		}},
		"SVID with Ed25519": {all(signedAs(v2Format, bySPIRE), withKey(newEd25519Key(t))), shown{
			verify.Verified, v2Format, spire, signing.AssuranceWorkloadIdentity, workload, pod, header, 0,
		}},
		"v1 key-bound": {signedAs(v1Format, byKey), shown{
			verify.Verified, v1Format, oidc, signing.AssuranceLegacy, account, pod, token, 3,
		}},
		"v1 SVID": {signedAs(v1Format, bySPIRE), shown{
			verify.Verified, v1Format, spire, signing.AssuranceLegacy, workload, "", status, 3,
		}},
		"v1 SVID with RSA": {all(signedAs(v1Format, bySPIRE), withKey(newRSAKey(t, 2048))), shown{
			verify.Verified, v1Format, spire, signing.AssuranceLegacy, workload, "", status, 3,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTaskRun(t, c.sign)
			got := newVerifier(t).TaskRun(t.Context(), tr, withLivePod(tr))
			if got.Verdict != verify.Verified {
				t.Fatalf("%s: %+v", got.Verdict, got.Checks)
			}
			have := shown{
				got.Verdict, got.Format, got.Backend, got.Assurance, got.Identity.Subject, string(got.Identity.PodUID), *got.Time,
				len(got.Caveats),
			}
			if diff := cmp.Diff(c.want, have); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
			if len(got.Identity.KeyIDs) != 1 || len(got.Results) != 3 {
				t.Errorf("keys %q, results %+v", got.Identity.KeyIDs, got.Results)
			}
			for _, id := range []verify.CheckID{verify.CheckSignature, verify.CheckPayload, verify.CheckTime,
				verify.CheckAssurance} {
				if !slices.ContainsFunc(got.Checks, func(c verify.Check) bool { return c.ID == id && c.Status == verify.Pass }) {
					t.Errorf("check %s is not reported as passed", id)
				}
			}
		})
	}
}

// Signing material may be in status.results, where stock Tekton leaves it.
func TestKindsWithCarriersInResults(t *testing.T) {
	for _, sign := range []func(*verifytest.Run){
		nil, signedAs(v2Format, byKey), signedAs(v2Format, bySPIRE), signedAs(v1Format, byKey), signedAs(v1Format, bySPIRE),
	} {
		run := verifytest.NewRun()
		if sign != nil {
			sign(run)
		}
		tr, err := run.TaskRun(theCluster())
		if err != nil {
			t.Fatal(err)
		}
		got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{Live: true})
		if got.Verdict != verify.Verified || len(got.Results) != 3 {
			t.Errorf("%s %d: %s %+v %+v", run.Format, run.Scheme, got.Verdict, got.Results, got.Checks)
		}
	}
}

func TestMixedKinds(t *testing.T) {
	kinds := map[string]func(*verifytest.Run){
		"payload-bound": nil, "key-bound": signedAs(v2Format, byKey), "audience-only": signedAs(v2Format, byAudience),
		"SVID": signedAs(v2Format, bySPIRE), "v1 key-bound": signedAs(v1Format, byKey),
		"v1 SVID":          signedAs(v1Format, bySPIRE),
		"v1 audience-only": signedAs(v1Format, byAudience),
	}
	v := newVerifier(t)
	for first, sign := range kinds {
		for second, other := range kinds {
			if first == second {
				continue
			}
			tr, donor := newTaskRun(t, sign), newTaskRun(t, other)
			tr.Status.Steps[1] = donor.Status.Steps[1]
			got := v.TaskRun(t.Context(), tr, verify.Facts{Live: true})
			if got.Verdict != verify.Failed || got.Reason != string(verify.CheckFormat) {
				t.Errorf("%s and %s: %s %s %+v", first, second, got.Verdict, got.Reason, got.Checks)
			}
		}
	}
}

func TestMinimums(t *testing.T) {
	for name, c := range map[string]struct {
		sign   func(*verifytest.Run)
		option verify.Option
		want   string // the failed check, empty if it is verified
	}{
		"v1 where v2 is asked for": {signedAs(v1Format, bySPIRE), verify.WithMinimumFormat(v2Format), "format"},
		"v1 where v1 is enough":    {signedAs(v1Format, bySPIRE), verify.WithMinimumFormat(v1Format), ""},
		"v2":                       {nil, verify.WithMinimumFormat(v2Format), ""},
		"key for payload": {
			signedAs(v2Format, byKey), verify.WithMinimumAssurance(signing.AssurancePayloadBound), "assurance",
		},
		"key for key":     {signedAs(v2Format, byKey), verify.WithMinimumAssurance(signing.AssuranceKeyBound), ""},
		"payload for key": {nil, verify.WithMinimumAssurance(signing.AssuranceKeyBound), ""},
		"SVID for key": {
			signedAs(v2Format, bySPIRE), verify.WithMinimumAssurance(signing.AssuranceKeyBound), "assurance",
		},
		"v1 for audience": {
			signedAs(v1Format, byKey), verify.WithMinimumAssurance(signing.AssuranceAudienceOnly), "assurance",
		},
		"v1 for legacy":              {signedAs(v1Format, byKey), verify.WithMinimumAssurance(signing.AssuranceLegacy), ""},
		"token longer than asked":    {nil, lifetimeOf(599e9), "token"},
		"token as long as asked for": {nil, lifetimeOf(600e9), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := newVerifier(t, c.option).TaskRun(t.Context(), newTaskRun(t, c.sign), verify.Facts{Live: true})
			want := verdictCase{want: verify.Verified}
			if c.want != "" {
				want = verdictCase{want: verify.Failed, checks: []string{c.want}}
			}
			compareVerdict(t, want, got)
		})
	}
}

// lifetimeOf sets the longest lifetime of tokens.
func lifetimeOf(d time.Duration) verify.Option {
	tokens := verify.DefaultTokens()
	tokens.Lifetime = d
	return verify.WithTokens(tokens)
}

func TestUnknownMinimums(t *testing.T) {
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []verify.Option{
		verify.WithMinimumFormat("v3"), verify.WithMinimumAssurance("strong"), lifetimeOf(0),
	} {
		if _, err := verify.New(cluster, option); err == nil {
			t.Error("an option that makes no sense is accepted")
		}
	}
}

func TestLegacyCaveatsAreNamed(t *testing.T) {
	got := newVerifier(t).TaskRun(t.Context(), newTaskRun(t, signedAs(v1Format, bySPIRE)), verify.Facts{Live: true})
	for _, word := range []string{"swapped", "copy from another TaskRun of the same name", "array or object"} {
		if !strings.Contains(strings.Join(got.Caveats, "\n"), word) {
			t.Errorf("no caveat about %q: %q", word, got.Caveats)
		}
	}
}
