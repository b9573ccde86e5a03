// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// servingPair is a certificate with its key and its authority, in PEM. Each authority issues one certificate, and
// its key is not kept.
type servingPair struct{ key, certificate, authority []byte }

// newServingPair makes new P-256 keys for an authority and a certificate of manifests.WebhookHost.
func newServingPair(notBefore, notAfter time.Time) (servingPair, error) {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return servingPair{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return servingPair{}, err
	}
	authority := &x509.Certificate{
		Subject: pkix.Name{CommonName: manifests.Controller + " authority"}, NotBefore: notBefore, NotAfter: notAfter,
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{manifests.WebhookHost},
	}
	leaf := &x509.Certificate{
		Subject: pkix.Name{CommonName: manifests.Controller}, NotBefore: notBefore, NotAfter: notAfter,
		DNSNames: []string{manifests.WebhookHost},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return servingPair{}, err
	}
	if authority, err = x509.ParseCertificate(authorityDER); err != nil { // its subject key ID is made up only now
		return servingPair{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), authorityKey)
	if err != nil {
		return servingPair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return servingPair{}, err
	}
	return servingPair{
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		authority:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER}),
	}, nil
}
