// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// stepResults returns one result of each kind.
func stepResults() []result.RunResult {
	return []result.RunResult{
		{Key: "digest", Value: "sha256:aaa", ResultType: result.TaskRunResultType},
		{Key: "list", Value: `["a","b"]`, ResultType: result.TaskRunResultType},
		{Key: "scan", Value: "clean", ResultType: result.StepResultType},
	}
}

// signWith signs stepResults and returns the carriers by name, and the audience of the token.
func signWith(
	t *testing.T, format signing.Format, binding signing.Binding, change func(*SignerOptions),
) (map[string]string, string) {
	t.Helper()
	var audience string
	f := newFakeAPI(t, func(_ int, a string, w http.ResponseWriter) { audience = a; grant(w, []string{a}) })
	f.options.Step.Config.Format, f.options.Step.Config.Binding = format, binding
	f.options.Step.Config.Tokens.Lifetime = 20 * time.Minute
	if change != nil {
		change(&f.options)
	}
	carriers, err := f.sign(t, 5*time.Second, stepResults()...)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.last.body["spec"].(map[string]any)["expirationSeconds"]; got != 1200.0 {
		t.Errorf("a token of %v seconds is asked for, want 1200", got)
	}
	byName := map[string]string{}
	for _, c := range carriers {
		if _, ok := byName[c.Key]; ok || c.ResultType != result.TaskRunResultType {
			t.Errorf("carrier %+v is doubled or no task result", c)
		}
		byName[c.Key] = c.Value
	}
	return byName, audience
}

func keyOf(t *testing.T, spki []byte) *ecdsa.PublicKey {
	t.Helper()
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || signing.AlgorithmOf(key) != signing.AlgorithmECDSAP256 {
		t.Fatalf("key of type %T, want ECDSA P-256", parsed)
	}
	return key
}

func decodeURL(t *testing.T, s string) []byte {
	t.Helper()
	b, err := signing.DecodeBase64URL(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSignWithAKey(t *testing.T) {
	for binding, scheme := range map[signing.Binding]signing.Scheme{
		signing.BindingKey: signing.SchemeOIDCKeyBound, signing.BindingAudience: signing.SchemeOIDCAudienceOnly,
	} {
		t.Run(string(binding), func(t *testing.T) {
			carriers, audience := signWith(t, signing.FormatV2, binding, nil)
			names := map[string]bool{}
			for name := range carriers {
				names[name] = true
			}
			want := map[string]bool{}
			for _, name := range scheme.Carriers() {
				want[name] = true
			}
			if diff := cmp.Diff(want, names); diff != "" {
				t.Errorf("carriers differ (-want +got):\n%s", diff)
			}
			header, err := signing.ParseManifest(carriers[signing.CarrierManifest])
			if err != nil {
				t.Fatal(err)
			}
			if header.Scheme != scheme || header.Algorithm != signing.AlgorithmECDSAP256 || header.Entries != 3 {
				t.Errorf("header %+v", header)
			}
			entries, err := signing.EntriesOf(stepResults())
			if err != nil {
				t.Fatal(err)
			}
			unit := signing.Unit{
				Header: header, Namespace: "ci", TaskRun: "build", Pod: "build-pod", Container: "step-build", Entries: entries,
			}
			spki := decodeURL(t, carriers[signing.CarrierPublicKey])
			signature := decodeURL(t, carriers[signing.CarrierManifestSignature])
			if err := header.Algorithm.Verify(keyOf(t, spki), unit.Message(), signature); err != nil {
				t.Errorf("signature: %v", err)
			}
			wantAudience := signing.AudiencePrefix
			if binding == signing.BindingKey {
				wantAudience = signing.KeyAudience(signing.AudiencePrefix, spki)
			}
			if audience != wantAudience {
				t.Errorf("audience %q, want %q", audience, wantAudience)
			}
		})
	}
}

func TestEachStepHasAKeyOfItsOwn(t *testing.T) {
	a, _ := signWith(t, signing.FormatV2, signing.BindingKey, nil)
	b, _ := signWith(t, signing.FormatV2, signing.BindingKey, nil)
	if a[signing.CarrierPublicKey] == b[signing.CarrierPublicKey] {
		t.Error("two steps signed with one key")
	}
}

func TestSignFormatV1(t *testing.T) {
	for _, binding := range []signing.Binding{signing.BindingKey, signing.BindingAudience} {
		t.Run(string(binding), func(t *testing.T) {
			carriers, audience := signWith(t, signing.FormatV1, binding, nil)
			spki, err := base64.StdEncoding.Strict().DecodeString(carriers[signing.CarrierPublicKey])
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{
				"digest.sig": "sha256:aaa", "list.sig": "a,b", "RESULT_MANIFEST.sig": "digest,list",
			} {
				signature, err := base64.StdEncoding.Strict().DecodeString(carriers[name])
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if sum := sha256.Sum256([]byte(value)); !ecdsa.VerifyASN1(keyOf(t, spki), sum[:], signature) {
					t.Errorf("%s is not the signature of %q", name, value)
				}
				delete(carriers, name)
			}
			if got := carriers[signing.CarrierManifest]; got != "digest,list" {
				t.Errorf("manifest %q", got)
			}
			wantAudience := signing.AudiencePrefix
			if binding == signing.BindingKey {
				wantAudience = signing.KeyAudience(signing.AudiencePrefix, spki)
			}
			if audience != wantAudience {
				t.Errorf("audience %q, want %q", audience, wantAudience)
			}
			for _, name := range []string{signing.CarrierManifest, signing.CarrierPublicKey, signing.CarrierToken} {
				if carriers[name] == "" {
					t.Errorf("%s is missing", name)
				}
				delete(carriers, name)
			}
			if len(carriers) != 0 {
				t.Errorf("carriers that format v1 does not have: %v", carriers)
			}
		})
	}
}

func TestSignValuesOfTheSidecar(t *testing.T) {
	entries := []signing.Entry{{Kind: result.TaskRunResultType, Name: "a", Value: "1"},
		{Kind: result.StepResultType, Name: "a", Value: "2"}}
	carriers, audience := signWith(t, signing.FormatV2, signing.BindingPayload, func(o *SignerOptions) {
		o.Step.Config.Values, o.Step.Entries = &step.Values{}, entries
	})
	header, err := signing.ParseManifest(carriers[signing.CarrierManifest])
	if err != nil {
		t.Fatal(err)
	}
	if want := signing.FlagLast | signing.FlagSidecarLogs; header.Flags != want || header.Entries != 2 {
		t.Errorf("flags %b with %d entries, want %b with 2", header.Flags, header.Entries, want)
	}
	unit := signing.Unit{
		Header: header, Namespace: "ci", TaskRun: "build", Pod: "build-pod", Container: "step-build", Entries: entries,
	}
	if want := signing.PayloadAudience(signing.AudiencePrefix, unit.Digest()); audience != want {
		t.Errorf("audience %q, want %q", audience, want)
	}
}
