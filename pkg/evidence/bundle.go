// SPDX-License-Identifier: Apache-2.0

package evidence

// ExportSigstoreBundle is a Sigstore bundle, version 0.3.
const ExportSigstoreBundle ExportFormat = "sigstore-bundle"

// bundleForm is the row of bundles in the table of forms.
func bundleForm() form {
	return form{
		name: ExportSigstoreBundle, summary: "a Sigstore bundle, for evidence that has a signature",
		of: func(s signed) any { return bundleOf(s) },
	}
}

// Bundle is a Sigstore bundle in its JSON form (sigstore/protobuf-specs, dev.sigstore.bundle.v1).
type Bundle struct {
	MediaType            string               `json:"mediaType"`
	VerificationMaterial VerificationMaterial `json:"verificationMaterial"`
	DSSEEnvelope         Envelope             `json:"dsseEnvelope"`
}

// VerificationMaterial names the key: exactly one of the two is set.
type VerificationMaterial struct {
	PublicKey   *KeyHint         `json:"publicKey,omitempty"`
	Certificate *LeafCertificate `json:"certificate,omitempty"`
}

// KeyHint names a key that the verifier must already have.
type KeyHint struct {
	Hint string `json:"hint"`
}

// LeafCertificate is a certificate, DER in base64. Intermediate certificates belong in the verifier's trusted
// root.
type LeafCertificate struct {
	RawBytes string `json:"rawBytes"`
}

const bundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// bundleOf returns a bundle with the key's ID, or with its certificate. An SVID is for TLS and not for
// signing code. A Sigstore verifier refuses it as a certificate, so the bundle has the ID of its key.
func bundleOf(s signed) Bundle {
	b := Bundle{MediaType: bundleMediaType, DSSEEnvelope: envelopeOf(s)}
	if s.certificate != nil {
		b.VerificationMaterial.Certificate = &LeafCertificate{RawBytes: base64Of(s.certificate)}
	} else {
		b.VerificationMaterial.PublicKey = &KeyHint{Hint: s.keyID}
	}
	return b
}
