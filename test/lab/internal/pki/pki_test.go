// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"testing"
	"time"
)

func TestIssuedCertificateVerifies(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	authority, err := NewAuthority("lab", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(Leaf{
		CommonName: "node", Organizations: []string{"system:nodes"},
		DNSNames: []string{"node"}, IPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatalf("certificate and key: expected a pair, got %v", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Certificate())
	for _, name := range []string{"node", "10.96.0.1"} {
		options := x509.VerifyOptions{Roots: roots, CurrentTime: now, DNSName: name}
		if _, err := loaded.Leaf.Verify(options); err != nil {
			t.Errorf("verify for %s: expected no error, got %v", name, err)
		}
	}
	for name, options := range map[string]x509.VerifyOptions{
		"other name": {Roots: roots, CurrentTime: now, DNSName: "other"},
		"too early":  {Roots: roots, CurrentTime: now.Add(-2 * time.Hour)},
		"too late":   {Roots: roots, CurrentTime: now.Add(validity + time.Hour)},
		"other root": {Roots: x509.NewCertPool(), CurrentTime: now},
	} {
		if _, err := loaded.Leaf.Verify(options); err == nil {
			t.Errorf("%s: expected an error, got none", name)
		}
	}
	if got := loaded.Leaf.Subject.String(); got != "CN=node,O=system:nodes" {
		t.Errorf("subject: expected CN=node,O=system:nodes, got %s", got)
	}
}

func TestIntermediate(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	root, err := NewAuthority("root", now)
	if err != nil {
		t.Fatal(err)
	}
	below, err := root.Intermediate("below")
	if err != nil {
		t.Fatal(err)
	}
	key, err := below.Key()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(below.Certificate(), key)
	if err != nil {
		t.Fatalf("certificate and key: expected a pair, got %v", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root.Certificate())
	options := x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := pair.Leaf.Verify(options); err != nil || !pair.Leaf.IsCA {
		t.Errorf("intermediate: expected an authority below the root, got %v, %v", pair.Leaf.IsCA, err)
	}
	if pair.Leaf.Issuer.CommonName != "root" || pair.Leaf.Subject.CommonName != "below" {
		t.Errorf("names: expected below by root, got %s by %s", pair.Leaf.Subject, pair.Leaf.Issuer)
	}
}

func TestServiceAccountKey(t *testing.T) {
	private, public, err := ServiceAccountKey()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(private)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok || rsaKey.N.BitLen() != 2048 {
		t.Fatalf("expected an RSA key of 2048 bits, got %T", key)
	}
	block, _ = pem.Decode(public)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !rsaKey.PublicKey.Equal(parsed) {
		t.Error("public key: expected the private key's, got another")
	}
}
