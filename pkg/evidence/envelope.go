// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Envelope is a DSSE envelope (https://github.com/secure-systems-lab/dsse, version 1.0.2).
type Envelope struct {
	Payload     string              `json:"payload"` // base64
	PayloadType string              `json:"payloadType"`
	Signatures  []EnvelopeSignature `json:"signatures"`
}

// EnvelopeSignature is a signature of an envelope.
type EnvelopeSignature struct {
	KeyID     string `json:"keyid"`
	Signature string `json:"sig"` // base64
}

// signed is a statement with the signature over it, in the form that other tools read.
type signed struct {
	statement   []byte
	signature   []byte // ASN.1 for ECDSA
	keyID       string
	certificate []byte // DER, only of schemes whose certificates are for signing code
}

// signedOf parses key-signed evidence.
func signedOf(in verify.InspectedStep, unit signing.Unit) (signed, error) {
	s := signed{statement: unit.Statement()}
	raw, err := decodeCapped(in.Carriers[signing.CarrierManifestSignature], signing.DecodeBase64URL)
	if err != nil {
		return s, fmt.Errorf("decoding the signature: %w", err)
	}
	if s.signature, err = foreignForm(unit.Header.Algorithm, raw); err != nil {
		return s, err
	}
	key, leaf, err := signingKey(in.Carriers, unit.Header.Scheme)
	if err != nil {
		return s, err
	}
	if signing.AlgorithmOf(key) != unit.Header.Algorithm {
		return s, fmt.Errorf("expected a key for %s, got %s", algorithmText(unit.Header.Algorithm), keyText(key))
	}
	if unit.Header.Scheme.SignsCode() {
		s.certificate = leaf
	}
	s.keyID, err = keyIDOf(key)
	return s, err
}

// foreignForm returns the signature in the form of DSSE's own libraries: ECDSA in ASN.1.
func foreignForm(a signing.Algorithm, raw []byte) ([]byte, error) {
	if a != signing.AlgorithmECDSAP256 {
		return raw, nil
	}
	if len(raw) != 2*ecdsaHalf {
		return nil, fmt.Errorf("expected a signature of %d bytes, got %d", 2*ecdsaHalf, len(raw))
	}
	return asn1.Marshal(ecdsaSignature{
		R: new(big.Int).SetBytes(raw[:ecdsaHalf]), S: new(big.Int).SetBytes(raw[ecdsaHalf:]),
	})
}

// signingKey returns the key that the evidence names, with its certificate if it has one.
func signingKey(carriers map[string]string, scheme signing.Scheme) (key crypto.PublicKey, leaf []byte, err error) {
	name := scheme.KeyCarrier()
	der, err := decodeCapped(carriers[name], signing.DecodeBase64URL)
	if err != nil {
		return nil, nil, fmt.Errorf("decoding %s: %w", name, err)
	}
	if name == signing.CarrierPublicKey {
		key, err = x509.ParsePKIXPublicKey(der)
		return key, nil, err
	}
	chain, err := parseChain(der)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return chain[0].PublicKey, chain[0].Raw, nil
}

func envelopeOf(s signed) Envelope {
	return Envelope{
		Payload: base64Of(s.statement), PayloadType: signing.PayloadType,
		Signatures: []EnvelopeSignature{{KeyID: s.keyID, Signature: base64Of(s.signature)}},
	}
}

// keyIDOf returns the SSH fingerprint of a key (RFC 4253 and 8709), which is the default key ID in DSSE's own
// library.
func keyIDOf(key crypto.PublicKey) (string, error) {
	var wire []byte
	switch key := key.(type) {
	case *ecdsa.PublicKey: // RFC 5656
		public, err := key.ECDH()
		if err != nil {
			return "", fmt.Errorf("reading the key: %w", err)
		}
		wire = sshStrings([]byte("ecdsa-sha2-nistp256"), []byte("nistp256"), public.Bytes())
	case ed25519.PublicKey:
		wire = sshStrings([]byte("ssh-ed25519"), key)
	case *rsa.PublicKey:
		wire = sshStrings([]byte("ssh-rsa"), sshNumber(big.NewInt(int64(key.E))), sshNumber(key.N))
	default:
		return "", fmt.Errorf("a key of type %T cannot be named", key)
	}
	digest := sha256.Sum256(wire)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(digest[:]), nil
}

// sshStrings returns each of parts with its length before it (RFC 4251, section 5).
func sshStrings(parts ...[]byte) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		_ = binary.Write(&b, binary.BigEndian, uint32(len(p))) // #nosec G115 -- a key; a buffer never fails
		b.Write(p)
	}
	return b.Bytes()
}

// sshNumber returns a positive number in the form of RFC 4251: without leading zeros, except one if the first
// bit would otherwise be a sign.
func sshNumber(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		return append([]byte{0}, b...)
	}
	return b
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
