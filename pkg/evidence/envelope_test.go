// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigstoreverify "github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	sigstoredsse "github.com/sigstore/sigstore/pkg/signature/dsse"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// keySignedCases returns all combinations of schemes and algorithms that have a signature.
func keySignedCases() map[string]struct {
	scheme    signing.Scheme
	algorithm signing.Algorithm
} {
	return map[string]struct {
		scheme    signing.Scheme
		algorithm signing.Algorithm
	}{
		"spire, ECDSA":   {signing.SchemeSPIRE, signing.AlgorithmECDSAP256},
		"spire, Ed25519": {signing.SchemeSPIRE, signing.AlgorithmEd25519},
		"spire, RSA":     {signing.SchemeSPIRE, signing.AlgorithmRSA},
		"key-bound":      {signing.SchemeOIDCKeyBound, signing.AlgorithmECDSAP256},
		"audience-only":  {signing.SchemeOIDCAudienceOnly, signing.AlgorithmECDSAP256},
		"sigstore":       {signing.SchemeSigstore, signing.AlgorithmECDSAP256},
	}
}

func TestDSSEVerifiesWithItsOwnLibrary(t *testing.T) {
	ca := newAuthority(t)
	for name, c := range keySignedCases() {
		t.Run(name, func(t *testing.T) {
			key := newKey(t, c.algorithm)
			tr := taskRun(t, func(r *verifytest.Run) {
				keySigned(t, &r.Steps[0], c.scheme, key, ca.leaf(t, key.Public()), ca.certificate)
			})
			exported := exportOne(tr, ExportDSSE)
			if exported.Err != nil {
				t.Fatal(exported.Err)
			}
			var envelope dsse.Envelope
			if err := json.Unmarshal(exported.Data, &envelope); err != nil {
				t.Fatal(err)
			}
			if err := verifyEnvelope(&envelope, key.Public()); err != nil {
				t.Errorf("the envelope does not verify: %v", err)
			}
			if err := verifyEnvelope(&envelope, newKey(t, c.algorithm).Public()); err == nil {
				t.Error("the envelope verifies with another key")
			}
			tr.Status.Steps[0].Terminated.ExitCode = 7
			if err := json.Unmarshal(exportOne(tr, ExportDSSE).Data, &envelope); err != nil {
				t.Fatal(err)
			}
			if err := verifyEnvelope(&envelope, key.Public()); err == nil {
				t.Error("the envelope of a changed TaskRun verifies")
			}
		})
	}
}

// verifyEnvelope verifies with Sigstore's verifier and with the key ID that the library itself computes.
func verifyEnvelope(envelope *dsse.Envelope, public crypto.PublicKey) error {
	verifier, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return err
	}
	adapter := &sigstoredsse.VerifierAdapter{SignatureVerifier: verifier, Pub: public}
	envelopes, err := dsse.NewEnvelopeVerifier(adapter)
	if err != nil {
		return err
	}
	_, err = envelopes.Verify(context.Background(), envelope)
	return err
}

func TestKeyIDIsTheLibrarysOwn(t *testing.T) {
	for _, a := range []signing.Algorithm{signing.AlgorithmECDSAP256, signing.AlgorithmEd25519, signing.AlgorithmRSA} {
		public := newKey(t, a).Public()
		want, err := dsse.SHA256KeyID(public)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := keyIDOf(public); err != nil || got != want {
			t.Errorf("%T: key ID %q, %v, want %q", public, got, err, want)
		}
	}
}

func TestBundleVerifiesWithSigstore(t *testing.T) {
	ca := newAuthority(t)
	for name, c := range keySignedCases() {
		t.Run(name, func(t *testing.T) {
			key := newKey(t, c.algorithm)
			leaf := ca.leaf(t, key.Public(), x509.ExtKeyUsageCodeSigning)
			tr := taskRun(t, func(r *verifytest.Run) { keySigned(t, &r.Steps[0], c.scheme, key, leaf) })
			exported := exportOne(tr, ExportSigstoreBundle)
			if exported.Err != nil {
				t.Fatal(exported.Err)
			}
			digest := digestOf(tr)
			verify := verifyWithKey
			if c.scheme == signing.SchemeSigstore {
				verify = func(data []byte, _ crypto.PublicKey, digest []byte) error { return verifyWithRoot(data, ca, digest) }
			}
			if err := verify(exported.Data, key.Public(), digest[:]); err != nil {
				t.Errorf("the bundle does not verify: %v", err)
			}
			if err := verify(exported.Data, key.Public(), make([]byte, sha256.Size)); err == nil {
				t.Error("the bundle verifies for a digest that is no subject")
			}
			tr.Status.PodName = "another"
			if err := verify(exportOne(tr, ExportSigstoreBundle).Data, key.Public(), digest[:]); err == nil {
				t.Error("the bundle of a changed TaskRun verifies")
			}
		})
	}
}

// verifyWithKey verifies a bundle as sigstore-go does with a key that the caller knows.
func verifyWithKey(data []byte, public crypto.PublicKey, digest []byte) error {
	hint, err := dsse.SHA256KeyID(public)
	if err != nil {
		return err
	}
	verifier, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return err
	}
	material := root.NewTrustedPublicKeyMaterialFromMapping(map[string]*root.ExpiringKey{
		hint: root.NewExpiringKey(verifier, time.Time{}, time.Time{}),
	})
	return verifyBundle(data, material, sigstoreverify.WithNoObserverTimestamps(),
		sigstoreverify.NewPolicy(sigstoreverify.WithArtifactDigest("sha256", digest), sigstoreverify.WithKey()))
}

// verifyWithRoot verifies a bundle as sigstore-go does with a trusted root.
func verifyWithRoot(data []byte, ca authority, digest []byte) error {
	material, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: ca.certificate}}, nil, nil, nil)
	if err != nil {
		return err
	}
	return verifyBundle(data, material, sigstoreverify.WithCurrentTime(), sigstoreverify.NewPolicy(
		sigstoreverify.WithArtifactDigest("sha256", digest), sigstoreverify.WithoutIdentitiesUnsafe()))
}

func verifyBundle(data []byte, material root.TrustedMaterial, option sigstoreverify.VerifierOption,
	policy sigstoreverify.PolicyBuilder) error {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(data); err != nil {
		return fmt.Errorf("reading the bundle: %w", err)
	}
	verifier, err := sigstoreverify.NewVerifier(material, option)
	if err != nil {
		return err
	}
	_, err = verifier.Verify(&b, policy)
	return err
}
