// SPDX-License-Identifier: Apache-2.0

package spire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Caps of a carrier of certificates.
const (
	// MaxCertificates is how many certificates a chain may have.
	MaxCertificates = 10
	maxChain        = 32 << 10 // bytes of the carrier; a termination message holds 4 KiB
)

// SVID is the certificate of a TaskRun's pod with its chain to an authority (X.509-SVID, section 5). It is
// not trusted until Verify has returned a nil error.
type SVID struct {
	Leaf          *x509.Certificate
	Intermediates []*x509.Certificate
}

// ParseChain reads the carrier SVID of format v2: base64url of the concatenated DER certificates, the leaf first.
func ParseChain(carrier string) (*SVID, error) {
	if len(carrier) > maxChain {
		return nil, fmt.Errorf("expected certificates of at most %d bytes, got %d", maxChain, len(carrier))
	}
	der, err := signing.DecodeBase64URL(carrier)
	if err != nil {
		return nil, fmt.Errorf("decoding the certificates: %w", err)
	}
	certificates, err := x509.ParseCertificates(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificates: %w", err)
	}
	return newSVID(certificates)
}

// FormatChain writes what ParseChain reads.
func FormatChain(certificates []*x509.Certificate) string {
	var der []byte
	for _, c := range certificates {
		der = append(der, c.Raw...)
	}
	return base64.RawURLEncoding.EncodeToString(der)
}

// ParseLegacy reads the carrier SVID of format v1: only one PEM block with the leaf, as Go writes it. It has
// no intermediate certificates.
func ParseLegacy(carrier string) (*SVID, error) {
	if len(carrier) > maxChain {
		return nil, fmt.Errorf("expected a certificate of at most %d bytes, got %d", maxChain, len(carrier))
	}
	block, rest := pem.Decode([]byte(carrier))
	if block == nil {
		return nil, fmt.Errorf("expected a certificate in PEM")
	}
	if len(rest) > 0 || carrier != encodePEM(block.Bytes) {
		return nil, fmt.Errorf("expected exactly one PEM block CERTIFICATE with nothing around it")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	if err := checkKey(leaf.PublicKey); err != nil {
		return nil, err
	}
	return &SVID{Leaf: leaf}, nil
}

// FormatLegacy writes what ParseLegacy reads.
func FormatLegacy(leaf *x509.Certificate) string { return encodePEM(leaf.Raw) }

// ParsePEM reads what FormatPEM writes, byte for byte: PEM blocks, the leaf first, each certificate once, with
// nothing around them.
func ParsePEM(text string) (*SVID, error) {
	if len(text) > maxChain {
		return nil, fmt.Errorf("expected certificates of at most %d bytes, got %d", maxChain, len(text))
	}
	var certificates []*x509.Certificate
	for rest := []byte(text); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("expected certificates in PEM with nothing around them")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the certificates: %w", err)
		}
		if slices.ContainsFunc(certificates, certificate.Equal) {
			return nil, fmt.Errorf("expected every certificate once, got one twice")
		}
		certificates = append(certificates, certificate)
	}
	if text != FormatPEM(certificates) {
		return nil, fmt.Errorf("expected PEM blocks CERTIFICATE with nothing around them")
	}
	return newSVID(certificates)
}

// FormatPEM writes certificates as PEM blocks.
func FormatPEM(certificates []*x509.Certificate) string {
	var text strings.Builder
	for _, c := range certificates {
		text.WriteString(encodePEM(c.Raw))
	}
	return text.String()
}

// newSVID returns the SVID of certificates, the leaf first.
func newSVID(certificates []*x509.Certificate) (*SVID, error) {
	if n := len(certificates); n == 0 || n > MaxCertificates {
		return nil, fmt.Errorf("expected 1 to %d certificates, got %d", MaxCertificates, n)
	}
	for _, c := range certificates {
		if err := checkKey(c.PublicKey); err != nil {
			return nil, err
		}
	}
	return &SVID{Leaf: certificates[0], Intermediates: certificates[1:]}, nil
}

func encodePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// checkKey refuses keys that are too weak, and keys with which verifying is slow.
func checkKey(key crypto.PublicKey) error {
	if signing.AlgorithmOf(key) != signing.AlgorithmNone {
		return nil
	}
	if key, ok := key.(*ecdsa.PublicKey); ok && key.Curve == elliptic.P384() {
		return nil
	}
	return fmt.Errorf("expected keys on P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits, got %T", key)
}
