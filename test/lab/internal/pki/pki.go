// SPDX-License-Identifier: Apache-2.0

// Package pki makes the certificates and keys of a lab's control plane. They live as long as the lab does.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"
)

// validity of every certificate. Labs are short-lived, but nobody should find an expired one after a holiday.
const validity = 365 * 24 * time.Hour

// Pair is a certificate and its private key, both PEM.
type Pair struct {
	Certificate []byte
	Key         []byte
}

// Leaf says who a certificate is for. It serves as a server's and as a client's certificate.
type Leaf struct {
	CommonName    string   // the user name Kubernetes sees
	Organizations []string // the groups Kubernetes sees
	DNSNames      []string
	IPs           []netip.Addr
}

// Authority issues certificates (RFC 5280) with ECDSA P-256 keys.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	now         time.Time
}

// NewAuthority makes a self-signed authority. Certificates are valid from one hour before now.
func NewAuthority(commonName string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	a := &Authority{key: key, now: now}
	template, err := a.template(commonName)
	if err != nil {
		return nil, err
	}
	return a, a.certify(template, a)
}

// Intermediate makes an authority whose certificate this one signs.
func (a *Authority) Intermediate(commonName string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	template, err := a.template(commonName)
	if err != nil {
		return nil, err
	}
	below := &Authority{key: key, now: a.now}
	return below, below.certify(template, a)
}

// certify gives the authority a certificate by issuer, which is the authority itself for a root.
func (a *Authority) certify(template *x509.Certificate, issuer *Authority) error {
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	parent := issuer.certificate
	if issuer == a {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, a.key.Public(), issuer.key)
	if err != nil {
		return fmt.Errorf("make the authority's certificate: %w", err)
	}
	a.certificate, err = x509.ParseCertificate(der)
	return err
}

// Key is the authority's private key (PKCS #8), PEM.
func (a *Authority) Key() ([]byte, error) { return encodeKey(a.key) }

// Certificate is the authority's own certificate, PEM.
func (a *Authority) Certificate() []byte { return encode("CERTIFICATE", a.certificate.Raw) }

// Issue makes a key and a certificate for it.
func (a *Authority) Issue(leaf Leaf) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make a key for %s: %w", leaf.CommonName, err)
	}
	template, err := a.template(leaf.CommonName)
	if err != nil {
		return Pair{}, err
	}
	template.Subject.Organization = leaf.Organizations
	template.DNSNames = leaf.DNSNames
	for _, ip := range leaf.IPs {
		template.IPAddresses = append(template.IPAddresses, net.IP(ip.AsSlice()))
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("make a certificate for %s: %w", leaf.CommonName, err)
	}
	private, err := encodeKey(key)
	return Pair{Certificate: encode("CERTIFICATE", der), Key: private}, err
}

func (a *Authority) template(commonName string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    a.now.Add(-time.Hour),
		NotAfter:     a.now.Add(validity),
	}, nil
}

// ServiceAccountKey makes the RSA 2048 key pair that signs service account tokens, as most clusters have it: the
// private key (PKCS #8) and the public key (PKIX), both PEM.
func ServiceAccountKey() (private, public []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, fmt.Errorf("make the service account key: %w", err)
	}
	if private, err = encodeKey(key); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("encode the service account key: %w", err)
	}
	return private, encode("PUBLIC KEY", der), nil
}

func encodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return encode("PRIVATE KEY", der), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
