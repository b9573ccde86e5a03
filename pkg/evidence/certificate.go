// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Caps for parsing: the certificates of a chain, and the text of one carrier in bytes.
const (
	maxChain   = 10
	maxCarrier = 64 << 10
)

// decodeCapped decodes the text of a carrier that is not too long.
func decodeCapped(value string, decode func(string) ([]byte, error)) ([]byte, error) {
	if len(value) > maxCarrier {
		return nil, fmt.Errorf("expected at most %d bytes, got %d", maxCarrier, len(value))
	}
	return decode(value)
}

// decodeCertificates shows the certificates in the carriers. decode decodes the text of a carrier.
func (s *Step) decodeCertificates(carriers map[string]string, decode func(string) ([]byte, error)) {
	for _, name := range signing.CertificateCarriers() {
		value, ok := carriers[name]
		if !ok {
			continue
		}
		der, err := decodeCapped(value, decode)
		if err != nil {
			s.problem("%s cannot be decoded: %v", name, err)
			continue
		}
		chain, err := parseChain(der)
		if err != nil {
			s.problem("%s cannot be read: %v", name, err)
			continue
		}
		for _, c := range chain {
			s.Certificates = append(s.Certificates, certificateOf(c))
		}
	}
}

// parseChain reads concatenated certificates (DER), leaf first.
func parseChain(der []byte) ([]*x509.Certificate, error) {
	chain, err := x509.ParseCertificates(der)
	switch {
	case err != nil:
		return nil, err
	case len(chain) == 0:
		return nil, fmt.Errorf("expected a certificate, got nothing")
	case len(chain) > maxChain:
		return nil, fmt.Errorf("expected at most %d certificates, got %d", maxChain, len(chain))
	}
	return chain, nil
}

func certificateOf(c *x509.Certificate) Certificate {
	return Certificate{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), Names: namesOf(c),
		Serial: fmt.Sprintf("%x", c.SerialNumber), NotBefore: timeText(c.NotBefore), NotAfter: timeText(c.NotAfter),
		CA: c.IsCA, Usages: usagesOf(c),
		PublicKey: PublicKey{Kind: keyText(c.PublicKey), SHA256: sum(c.RawSubjectPublicKeyInfo)},
		SHA256:    sum(c.Raw),
	}
}

func namesOf(c *x509.Certificate) []string {
	var names []string
	for _, u := range c.URIs {
		names = append(names, "URI:"+u.String())
	}
	for _, n := range c.DNSNames {
		names = append(names, "DNS:"+n)
	}
	for _, n := range c.EmailAddresses {
		names = append(names, "email:"+n)
	}
	for _, ip := range c.IPAddresses {
		names = append(names, "IP:"+ip.String())
	}
	return names
}

// usagesOf returns the allowed usages of the key, with the names of RFC 5280.
func usagesOf(c *x509.Certificate) []string {
	var usages []string
	for _, u := range []struct {
		bit  x509.KeyUsage
		text string
	}{
		{x509.KeyUsageDigitalSignature, "digital signature"}, {x509.KeyUsageContentCommitment, "content commitment"},
		{x509.KeyUsageKeyEncipherment, "key encipherment"}, {x509.KeyUsageDataEncipherment, "data encipherment"},
		{x509.KeyUsageKeyAgreement, "key agreement"}, {x509.KeyUsageCertSign, "certificate signing"},
		{x509.KeyUsageCRLSign, "CRL signing"},
	} {
		if c.KeyUsage&u.bit != 0 {
			usages = append(usages, u.text)
		}
	}
	for _, u := range c.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageServerAuth:
			usages = append(usages, "server authentication")
		case x509.ExtKeyUsageClientAuth:
			usages = append(usages, "client authentication")
		case x509.ExtKeyUsageCodeSigning:
			usages = append(usages, "code signing")
		default:
			usages = append(usages, fmt.Sprintf("extended usage %d", u))
		}
	}
	return usages
}

// decodePublicKey shows the key in the carriers.
func (s *Step) decodePublicKey(carriers map[string]string, decode func(string) ([]byte, error)) {
	value, ok := carriers[signing.CarrierPublicKey]
	if !ok {
		return
	}
	der, err := decodeCapped(value, decode)
	if err != nil {
		s.problem("%s cannot be decoded: %v", signing.CarrierPublicKey, err)
		return
	}
	s.PublicKey = &PublicKey{Kind: unknown, SHA256: sum(der)}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		s.problem("%s cannot be read: %v", signing.CarrierPublicKey, err)
		return
	}
	s.PublicKey.Kind = keyText(key)
}

func keyText(key crypto.PublicKey) string {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA, %d bits", key.N.BitLen())
	}
	return unknown
}
