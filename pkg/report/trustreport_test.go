// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// hostile is text that must not reach a terminal unescaped.
const hostile = "\x1b[2K\rVERIFIED\n\t\u202e"

func trustBundle() *trust.Bundle {
	at := func(day int) trust.Timestamp { return trust.At(time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)) }
	jwk := trust.JWK{
		KeyType: "EC", KeyID: hostile, Algorithm: "ES256", Curve: "P-256",
		X: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", Y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
	}
	return &trust.Bundle{
		Clusters: []trust.Cluster{{
			UID: "0b0e2c1a-77b4-4f4b-8f43-3a0c5d0f3c55", Name: hostile,
			ServiceAccountIssuers: []trust.Issuer{{Issuer: hostile, Keys: []trust.IssuerKey{
				{JWK: jwk, NotBefore: at(1), NotAfter: at(2)}, {JWK: jwk, LastSeen: at(3)}, {JWK: jwk},
			}}},
			Recorders: []trust.Recorder{{Subject: hostile}},
		}},
		Sigstore: &trust.Sigstore{Identities: []trust.SigstoreIdentity{{Issuer: hostile, Subject: hostile}}},
	}
}

func TestTrustTable(t *testing.T) {
	r, err := report.NewTrustReport(report.SourceFile, trustBundle())
	if err != nil {
		t.Fatal(err)
	}
	r.Path, r.SHA256 = hostile, strings.Repeat("0", 64)
	r.Notes = append(r.Notes, hostile)
	var b strings.Builder
	if err := r.Table(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, c := range text {
		if c != '\n' && (c < ' ' || c == '\u202e') {
			t.Errorf("the table holds %q", c)
		}
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 8 || !strings.HasPrefix(lines[7], "SHA-256 "+r.SHA256) {
		t.Errorf("got %d lines, want a head, 3 keys, 3 remarks and the digest last:\n%s", len(lines), text)
	}
	for i, want := range []string{"2026-01-02T00:00:00Z  ", "2026-01-03T00:00:00Z, in use", "ES256   -  "} {
		if !strings.Contains(lines[i+1], want) {
			t.Errorf("line %d: want %q in %q", i+1, want, lines[i+1])
		}
	}
}

func TestTrustJSON(t *testing.T) {
	r, err := report.NewTrustReport(report.SourceFile, trustBundle())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var got report.TrustReport
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, &got); diff != "" {
		t.Errorf("machines read something else (-want +got):\n%s", diff)
	}
	if key := got.Keys[0]; key.KeyID != hostile || key.InUse || key.FirstSeen != "2026-01-01T00:00:00Z" ||
		len(key.Fingerprint) != 64 {
		t.Errorf("key %+v", key)
	}
}
