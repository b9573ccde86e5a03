// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// exportOne exports the first step.
func exportOne(tr *v1.TaskRun, format ExportFormat) Exported {
	list, err := Export(tr, ExportOptions{Format: format, Step: "build", Audience: signing.AudiencePrefix})
	if err != nil {
		return Exported{Err: err}
	}
	return list[0]
}

// digestOf returns the SHA-256 of the first result, which is a subject of the first step's statement.
func digestOf(tr *v1.TaskRun) [sha256.Size]byte {
	return sha256.Sum256([]byte(tr.Status.Results[0].Value.StringVal))
}

func TestPayloadBoundExport(t *testing.T) {
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	tr := taskRunOf(t, cluster, nil)
	jwk, err := cluster.JWK()
	if err != nil {
		t.Fatal(err)
	}
	jwkJSON, err := json.Marshal(jwk)
	if err != nil {
		t.Fatal(err)
	}
	list, err := Export(tr, ExportOptions{
		Format: ExportInToto, Audience: signing.AudiencePrefix,
		IssuerKey: func(issuer, keyID string) json.RawMessage {
			if issuer != verifytest.Issuer || keyID != cluster.KeyID {
				return nil
			}
			return jwkJSON
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 {
		t.Fatalf("%d exports of 2 steps", len(list))
	}
	for _, exported := range list {
		if exported.Err != nil || exported.Note != "" || strings.Contains(string(exported.Data), "\n") {
			t.Fatalf("error %v, note %q, data %q", exported.Err, exported.Note, exported.Data)
		}
		var got PayloadBound
		if err := json.Unmarshal(exported.Data, &got); err != nil {
			t.Fatal(err)
		}
		statement, err := base64.StdEncoding.DecodeString(got.Payload)
		if err != nil {
			t.Fatal(err)
		}
		validateStatement(t, statement)
		checkPayloadBound(t, got, statement)
	}
}

// checkPayloadBound verifies as a reader can who has only the exported object and the DSSE specification.
func checkPayloadBound(t *testing.T, got PayloadBound, statement []byte) {
	t.Helper()
	if len(got.JWKS.Keys) != 1 {
		t.Fatalf("%d keys", len(got.JWKS.Keys))
	}
	key, err := oidc.ParseJWK(got.JWKS.Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	token, err := oidc.ParseToken(got.Token)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.VerifySignature(key); err != nil {
		t.Error(err)
	}
	digest := sha256.Sum256(dsse.PAE(got.PayloadType, statement))
	want := []string{"tekton-result-signing:p:" + base64.RawURLEncoding.EncodeToString(digest[:])}
	if diff := cmp.Diff(want, token.Claims.Audience); diff != "" {
		t.Errorf("the audience is not the statement's (-want +got):\n%s", diff)
	}
}

// validateStatement reads a statement with in-toto's own library.
func validateStatement(t *testing.T, text []byte) {
	t.Helper()
	var statement intoto.Statement
	if err := protojson.Unmarshal(text, &statement); err != nil {
		t.Fatal(err)
	}
	if err := statement.Validate(); err != nil {
		t.Error(err)
	}
}

func TestStatementsValidateWithInToto(t *testing.T) {
	for name, entries := range map[string]int{"some": 2, "none": 0} {
		tr := taskRun(t, func(r *verifytest.Run) {
			r.Steps[0].Entries = r.Steps[0].Entries[:entries]
			if entries > 0 {
				r.Steps[0].Entries[0].Key = "näme \"of\" a result"
			}
		})
		step := Inspect(tr, signing.AudiencePrefix).Steps[0]
		if step.Statement == nil || len(step.Entries) != entries {
			t.Fatalf("%s: %+v", name, step)
		}
		validateStatement(t, []byte(step.Statement.Text))
	}
}

// carrying replaces carriers of a key-bound step. An empty value removes one.
func carrying(t *testing.T, values map[string]string) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		keySigned(t, &r.Steps[0], signing.SchemeOIDCKeyBound, newKey(t, signing.AlgorithmECDSAP256))
		carriers := r.Steps[0].Carriers
		r.Steps[0].Carriers = func(c map[string]string) {
			carriers(c)
			for name, value := range values {
				if c[name] = value; value == "" {
					delete(c, name)
				}
			}
		}
	}
}

func TestExportRefuses(t *testing.T) {
	rsaKey, err := x509.MarshalPKIXPublicKey(newKey(t, signing.AlgorithmRSA).Public())
	if err != nil {
		t.Fatal(err)
	}
	claim := func(name string, value any) func(*verifytest.Run) {
		return func(r *verifytest.Run) { r.Steps[0].Claims = func(c map[string]any) { c[name] = value } }
	}
	for name, c := range map[string]struct {
		change func(*verifytest.Run)
		format ExportFormat
		want   string
		none   bool // the step carries no evidence
	}{
		"payload-bound as dsse":   {nil, ExportDSSE, "has no signature over the statement", false},
		"payload-bound as bundle": {nil, ExportSigstoreBundle, "export it with -o in-toto", false},
		"key-bound as in-toto":    {carrying(t, nil), ExportInToto, "export it with -o dsse", false},
		"format v1": {
			carrying(t, map[string]string{signing.CarrierManifest: "IMAGE_DIGEST,TAGS"}), ExportDSSE, "format v1 signs", false,
		},
		"unknown format": {
			carrying(t, map[string]string{signing.CarrierManifest: "v3:AA"}), ExportDSSE, "not well-formed", false,
		},
		"no signature": {
			carrying(t, map[string]string{signing.CarrierManifestSignature: ""}), ExportDSSE, "more or fewer parts", false,
		},
		"short signature": {
			carrying(t, map[string]string{signing.CarrierManifestSignature: "AAAA"}), ExportDSSE,
			"expected a signature of 64 bytes, got 3", false,
		},
		"padded signature": {
			carrying(t, map[string]string{signing.CarrierManifestSignature: "AA=="}), ExportDSSE, "decoding the signature",
			false,
		},
		"no key": {
			carrying(t, map[string]string{signing.CarrierPublicKey: "AAAA"}), ExportDSSE, "not well-formed", false,
		},
		"key of another kind": {carrying(t,
			map[string]string{signing.CarrierPublicKey: base64.RawURLEncoding.EncodeToString(rsaKey)}),
			ExportSigstoreBundle, "expected a key for ECDSA P-256 with SHA-256, got RSA, 2048 bits", false},
		"no evidence": {func(r *verifytest.Run) { r.Steps[0].Bare = true }, ExportInToto, "the step left none", true},
		"unsigned": {
			func(r *verifytest.Run) {
				r.Steps[0].Unsigned = signing.UnsignedTokenDenied
			}, ExportInToto, "none:token-denied", true,
		},
		"broken token": {
			func(r *verifytest.Run) {
				r.Steps[0].Token = func(map[string]any) string { return "x" }
			}, ExportInToto, "expected a token of 3 parts", false,
		},
		"a credential": {
			claim("aud", []string{verifytest.Issuer}), ExportInToto, "the token is credential and vouches for no statement",
			false,
		},
		"fixed audience": {
			claim("aud", []string{signing.AudiencePrefix}), ExportInToto, "the token is audience-only", false,
		},
		"two audiences": {
			claim("aud", []string{signing.AudiencePrefix, signing.AudiencePrefix}), ExportInToto, "the token is foreign", false,
		},
		"another service": {claim("aud", []string{"vault"}), ExportInToto, "the token is foreign", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := exportOne(taskRun(t, c.change), c.format)
			if got.Err == nil || !strings.Contains(got.Err.Error(), c.want) || got.Data != nil {
				t.Errorf("error %v, data %q, want an error with %q and no data", got.Err, got.Data, c.want)
			}
			if none := errors.Is(got.Err, ErrNoEvidence); none != c.none {
				t.Errorf("ErrNoEvidence %t, want %t", none, c.none)
			}
		})
	}
}

func TestExportChoosesSteps(t *testing.T) {
	tr := taskRun(t, nil)
	for step, want := range map[string][]string{
		"": {"step-build", "step-publish"}, "publish": {"step-publish"}, "step-build": {"step-build"},
	} {
		list, err := Export(tr, ExportOptions{Format: ExportInToto, Step: step, Audience: signing.AudiencePrefix})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range list {
			got = append(got, e.Container)
			if !strings.Contains(e.Note, "without jwks") {
				t.Errorf("note %q does not say that the key is missing", e.Note)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("--step %q (-want +got):\n%s", step, diff)
		}
	}
	_, err := Export(tr, ExportOptions{Format: ExportInToto, Step: "absent"})
	if err == nil || !strings.Contains(err.Error(), `expected one of ["build" "publish"], got "absent"`) {
		t.Errorf("error %v", err)
	}
	tr.Status.Steps = nil
	if _, err := Export(tr, ExportOptions{Format: ExportInToto}); !errors.Is(err, ErrNoEvidence) {
		t.Errorf("error %v", err)
	}
}

// The digest in the inspection is the one that algorithms sign.
func TestStatementDigestIsThatOfItsEncoding(t *testing.T) {
	s := Inspect(taskRun(t, nil), signing.AudiencePrefix).Steps[0].Statement
	digest := sha256.Sum256(dsse.PAE(signing.PayloadType, []byte(s.Text)))
	if got := hex.EncodeToString(digest[:]); got != s.Digest {
		t.Errorf("digest %s, want %s", s.Digest, got)
	}
}
