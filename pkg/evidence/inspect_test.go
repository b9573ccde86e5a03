// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// first returns the inspection of the first step.
func first(tr *v1.TaskRun) Step { return Inspect(tr, signing.AudiencePrefix).Steps[0] }

func TestInspectPayloadBound(t *testing.T) {
	s := first(taskRun(t, nil))
	if s.State != StateEvidence || s.Format != signing.FormatV2 || len(s.Problems) != 0 {
		t.Fatalf("state %s, format %s, problems %q", s.State, s.Format, s.Problems)
	}
	want := &Header{
		Scheme: Code{3, "service account token bound to the payload"}, Backend: signing.BackendOIDCSAToken,
		Algorithm: Code{0, "none, the token vouches for the digest itself"},
		PodUID:    "3db15e48-971f-4815-84b3-272e52f61a10", TaskRunUID: "6340374f-3a88-4ff2-812e-c155a2d8e142",
		SignedAt: "2025-06-02T12:00:30Z", Index: 0, Count: 2, Entries: 2,
	}
	if diff := cmp.Diff(want, s.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	pair := []DigestPair{{
		Of: "statement", Computed: s.Statement.Digest, Carrier: "audience of SIGNING_TOKEN", Carried: s.Statement.Digest,
	}}
	if diff := cmp.Diff(pair, s.Digests); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
	c := s.Token.Claims
	got := []string{c.IssuedAt, c.Expiry, c.Subject, c.Pod, c.ServiceAccount, s.Token.AudienceKind}
	wantClaims := []string{
		"2025-06-02T12:00:30Z", "2025-06-02T12:10:30Z", "system:serviceaccount:ci:builder", "build-pod", "builder",
		"payload-bound",
	}
	if diff := cmp.Diff(wantClaims, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

// A changed TaskRun shows two different digests, and no problem: comparing them is the task of verify.
func TestInspectComparesNothing(t *testing.T) {
	tr := taskRun(t, nil)
	before := first(tr)
	tr.Status.Steps[0].Terminated.ExitCode = 1
	after := first(tr)
	if after.Digests[0].Computed == before.Digests[0].Computed || after.Digests[0].Carried != before.Digests[0].Carried {
		t.Errorf("digests %+v, before %+v", after.Digests, before.Digests)
	}
	if len(after.Problems) != 0 {
		t.Errorf("problems %q", after.Problems)
	}
}

func TestInspectKeys(t *testing.T) {
	ca, key := newAuthority(t), newKey(t, signing.AlgorithmECDSAP256)
	leaf := ca.leaf(t, key.Public(), x509.ExtKeyUsageClientAuth)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	tr := taskRun(t, func(r *verifytest.Run) {
		keySigned(t, &r.Steps[0], signing.SchemeOIDCKeyBound, key)
		keySigned(t, &r.Steps[1], signing.SchemeSPIRE, key, leaf, ca.certificate)
	})
	bound, spire := Inspect(tr, signing.AudiencePrefix).Steps[0], Inspect(tr, signing.AudiencePrefix).Steps[1]
	if len(bound.Problems)+len(spire.Problems) > 0 {
		t.Fatalf("problems %q, %q", bound.Problems, spire.Problems)
	}
	if diff := cmp.Diff(&PublicKey{Kind: "ECDSA P-256", SHA256: sum(spki)}, bound.PublicKey); diff != "" {
		t.Errorf("public key (-want +got):\n%s", diff)
	}
	pair := []DigestPair{{Of: "public key", Computed: sum(spki), Carrier: "audience of SIGNING_TOKEN", Carried: sum(spki)}}
	if diff := cmp.Diff(pair, bound.Digests); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
	signature := Signature{
		Carrier: "RESULT_MANIFEST.sig", Over: "the statement", Form: "ECDSA P-256, r and s one after the other", Bytes: 64,
	}
	if diff := cmp.Diff([]Signature{signature}, spire.Signatures); diff != "" {
		t.Errorf("signatures (-want +got):\n%s", diff)
	}
	want := Certificate{
		Issuer: "CN=test authority", Names: []string{"URI:spiffe://example.org/ns/ci/taskrun/build"}, Serial: "ff",
		NotBefore: "2025-06-02T11:59:00Z", NotAfter: timeText(leaf.NotAfter),
		Usages: []string{"digital signature", "client authentication"}, PublicKey: *bound.PublicKey, SHA256: sum(leaf.Raw),
	}
	if len(spire.Certificates) != 2 {
		t.Fatalf("%d certificates", len(spire.Certificates))
	}
	if diff := cmp.Diff(want, spire.Certificates[0]); diff != "" {
		t.Errorf("leaf (-want +got):\n%s", diff)
	}
}

func TestInspectStates(t *testing.T) {
	tr := taskRun(t, func(r *verifytest.Run) {
		r.Steps = append(r.Steps, verifytest.Step{Name: "later", Running: true})
		r.Steps[0].Bare = true
		r.Steps[1].Unsigned = signing.UnsignedTooLong
	})
	tr.Status.Steps = append(tr.Status.Steps, v1.StepState{Container: "step-cut", ContainerState: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{Message: `[{"key":"a","value":"b`},
	}})
	got := map[string]string{}
	for _, s := range Inspect(tr, signing.AudiencePrefix).Steps {
		got[s.Container] = string(s.State) + " " + s.Reason
	}
	want := map[string]string{
		"step-build": "absent ", "step-publish": "unsigned too-long", "step-later": "running ", "step-cut": "unreadable ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if Inspect(tr, signing.AudiencePrefix).HasEvidence() {
		t.Error("evidence in a TaskRun without any")
	}
}

func TestInspectFormatV1(t *testing.T) {
	ca, key := newAuthority(t), newKey(t, signing.AlgorithmECDSAP256)
	leaf := ca.leaf(t, key.Public())
	tr := taskRun(t, func(r *verifytest.Run) {
		r.Steps[0].Bare = true
		signed, err := signing.SignLegacy(rand.Reader, key, r.Steps[0].Entries)
		if err != nil {
			t.Fatal(err)
		}
		r.Steps[0].Entries = append(r.Steps[0].Entries, signed...)
		r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.TaskResult(signing.CarrierSVID,
			string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))))
	})
	s := first(tr)
	if s.Format != signing.FormatV1 || len(s.Problems) > 0 || s.Header != nil || s.Statement != nil {
		t.Errorf("format %s, problems %q, header %v", s.Format, s.Problems, s.Header)
	}
	if diff := cmp.Diff([]string{"IMAGE_DIGEST", "TAGS"}, s.ManifestNames); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if len(s.Certificates) != 1 || s.Certificates[0].SHA256 != sum(leaf.Raw) {
		t.Errorf("certificates %+v", s.Certificates)
	}
	if len(s.Signatures) != 3 || s.Signatures[0].Form != "ECDSA, ASN.1" || len(s.Entries) != 2 {
		t.Errorf("signatures %+v, entries %+v", s.Signatures, s.Entries)
	}
}

// Inspect shows all carriers, and adds a problem for each part that a verifier always refuses.
func TestInspectHostileCarriers(t *testing.T) {
	high := bytes.Repeat([]byte{0xff}, 64)
	header := func(change func(b []byte)) string {
		b := make([]byte, 44)
		copy(b, []byte{2, 3, 0, 1})
		b[41] = 1
		change(b)
		return "v2:" + base64.RawURLEncoding.EncodeToString(b)
	}
	token := func(claims string) string {
		return "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".AAAA"
	}
	for name, c := range map[string]struct{ carrier, value, want string }{
		"unknown format": {signing.CarrierManifest, "v3:AA", `unknown format: RESULT_MANIFEST is "v3:AA"`},
		"unknown reason": {signing.CarrierManifest, "none:because", `"none:because"`},
		"short header":   {signing.CarrierManifest, "v2:AA", "expected a header of 59 characters, got 2"},
		"version 9": {
			signing.CarrierManifest, header(func(b []byte) { b[0] = 9 }), "expected format version 2, got 9",
		},
		"unknown scheme": {
			signing.CarrierManifest, header(func(b []byte) { b[1] = 99 }), "backend 99 with algorithm 0 is not allowed",
		},
		"unknown bits": {signing.CarrierManifest, header(func(b []byte) { b[3] = 0x81 }), "unknown flag bits 0x80"},
		"entries": {
			signing.CarrierManifest, header(func(b []byte) { b[42] = 0xff }),
			"the header counts 65280 entries, the message holds 2",
		},
		"empty token": {signing.CarrierToken, "", "expected a token of 3 parts, got 1"},
		"long token": {
			signing.CarrierToken, strings.Repeat("A", 9000), "expected a token of at most 8192 bytes, got 9000",
		},
		"token of nothing":  {signing.CarrierToken, token(`{}`), "no time of issue"},
		"token of two keys": {signing.CarrierToken, token(`{"iat":1,"iat":2,"exp":3}`), `"iat" occurs twice`},
		"credential": {signing.CarrierToken, token(`{"iat":1,"exp":3,"iss":"x","aud":["x"]}`),
			"the API server itself may accept this token"},
		"certificate": {signing.CarrierSVID, "AAAA", "SVID cannot be read"},
		"long certificate": {signing.CarrierSVID, strings.Repeat("A", maxCarrier+1),
			"SVID cannot be decoded: expected at most 65536 bytes, got 65537"},
		"no certificate": {signing.CarrierCertificate, "", "expected a certificate, got nothing"},
		"public key":     {signing.CarrierPublicKey, "AAAA", "SIGNING_PUBKEY cannot be read"},
		"one part too many": {signing.CarrierManifestSignature, base64.RawURLEncoding.EncodeToString(high),
			"the evidence of its backend is RESULT_MANIFEST, SIGNING_TOKEN, got RESULT_MANIFEST, RESULT_MANIFEST.sig, " +
				"SIGNING_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := taskRun(t, func(r *verifytest.Run) {
				r.Steps[0].Carriers = func(carriers map[string]string) { carriers[c.carrier] = c.value }
			})
			s := first(tr)
			if got := strings.Join(s.Problems, "\n"); !strings.Contains(got, c.want) {
				t.Errorf("problems %q, want %q", got, c.want)
			}
			if s.State != StateEvidence {
				t.Errorf("state %s", s.State)
			}
		})
	}
}

// In format v1, a step without results has an empty manifest. Without a manifest, the format is unknown.
func TestInspectTellsFormatsApart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string]string)
		want   signing.Format
	}{
		"empty":  {func(c map[string]string) { c[signing.CarrierManifest] = "" }, signing.FormatV1},
		"absent": {func(c map[string]string) { delete(c, signing.CarrierManifest) }, ""},
	} {
		s := first(taskRun(t, func(r *verifytest.Run) { r.Steps[0].Carriers = c.change }))
		if s.Format != c.want || len(s.ManifestNames) != 0 || s.State != StateEvidence {
			t.Errorf("%s: format %q, names %q, state %s", name, s.Format, s.ManifestNames, s.State)
		}
	}
}

func TestInspectSignatureForms(t *testing.T) {
	encode := base64.RawURLEncoding.EncodeToString
	for value, want := range map[string]string{
		encode(bytes.Repeat([]byte{0xff}, 64)): "the higher one, which a verifier refuses",
		encode(make([]byte, 63)):               "expected 64 bytes, got 63",
		encode(make([]byte, 64)):               "",
		"=":                                    "not base64url",
	} {
		if got := signatureV2(signing.AlgorithmECDSAP256, value).Problem; !strings.Contains(got, want) ||
			want == "" && got != "" {
			t.Errorf("%q: problem %q, want %q", value, got, want)
		}
	}
}

// A time that RFC 3339 cannot express must not prevent output.
func TestInspectTimesBeyondTheCalendar(t *testing.T) {
	tr := taskRun(t, func(r *verifytest.Run) {
		r.Steps[0].Claims = func(c map[string]any) { c["iat"], c["exp"] = int64(math.MaxInt64/2), int64(math.MinInt64/2) }
	})
	if got := first(tr).Token.Claims.IssuedAt; got != "4611686018427387903 seconds since 1970" {
		t.Errorf("issued at %q", got)
	}
}

func TestInspectManySteps(t *testing.T) {
	tr := &v1.TaskRun{}
	for i := range 300 {
		tr.Status.Steps = append(tr.Status.Steps, v1.StepState{Container: fmt.Sprintf("step-%d", i)})
	}
	got := Inspect(tr, signing.AudiencePrefix)
	if len(got.Steps) != 255 || len(got.Notes) != 1 || !strings.HasPrefix(got.Notes[0], "45 more steps") {
		t.Errorf("%d steps, notes %q", len(got.Steps), got.Notes)
	}
}

// FuzzInspect passes any termination message. Inspect must return something that can be encoded, and Export
// data or an error.
func FuzzInspect(f *testing.F) {
	f.Add(`[{"key":"RESULT_MANIFEST","value":"v2:AgMAAT2xXkiXH0gVhLMnLlL2GhBjQDdPOohP8oEuwVWi2OFCawK-jgABAAU","type":1},` +
		`{"key":"SIGNING_TOKEN","value":"e30.e30.AA","type":1}]`)
	f.Add(`[{"key":"RESULT_MANIFEST","value":"a,b","type":1},{"key":"SIGNING_PUBKEY","value":"AAAA","type":1},` +
		`{"key":"a.sig","value":"AAAA","type":1}]`)
	f.Add("tknz:AAAA")
	f.Fuzz(func(t *testing.T, message string) {
		tr := &v1.TaskRun{}
		tr.Status.Steps = []v1.StepState{{Container: "step-a", ContainerState: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{Message: message},
		}}}
		if _, err := json.Marshal(Inspect(tr, signing.AudiencePrefix)); err != nil {
			t.Error(err)
		}
		for _, format := range ExportFormats() {
			list, err := Export(tr, ExportOptions{Format: format, Audience: signing.AudiencePrefix})
			if err != nil {
				t.Fatal(err)
			}
			if e := list[0]; (e.Err == nil) == (e.Data == nil) {
				t.Errorf("error %v with data %q", e.Err, e.Data)
			}
		}
	})
}

// FuzzCarriers passes any values of carriers, without the JSON around them.
func FuzzCarriers(f *testing.F) {
	f.Add("v2:AgMAAT2xXkiXH0gVhLMnLlL2GhBjQDdPOohP8oEuwVWi2OFCawK-jgABAAU", "", "e30.e30.AA", "", "", "")
	f.Add("a,b", "AAAA", "", "AAAA", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "AAAA")
	f.Fuzz(func(t *testing.T, manifest, signature, token, key, svid, certificate string) {
		var entries []result.RunResult
		for _, c := range []struct{ name, value string }{
			{signing.CarrierManifest, manifest}, {signing.CarrierManifestSignature, signature},
			{signing.CarrierCertificate, certificate}, {signing.CarrierPublicKey, key}, {signing.CarrierToken, token},
			{signing.CarrierSVID, svid}, // in the order of their names, as Tekton stores them
		} {
			if c.value != "" {
				entries = append(entries, verifytest.TaskResult(c.name, c.value))
			}
		}
		message, err := json.Marshal(entries)
		if err != nil {
			t.Fatal(err)
		}
		tr := &v1.TaskRun{}
		tr.Status.Steps = []v1.StepState{{Container: "step-a", ContainerState: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{Message: string(message)},
		}}}
		if _, err := json.Marshal(Inspect(tr, signing.AudiencePrefix)); err != nil {
			t.Error(err)
		}
		for _, format := range ExportFormats() {
			if _, err := Export(tr, ExportOptions{Format: format, Audience: signing.AudiencePrefix}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
