// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// TrustDomain is the virtual cluster's own SPIFFE trust domain.
const TrustDomain = "ci.example"

// CA issues SVIDs. It is an authority of its trust domain, or an intermediate one below such an authority.
type CA struct {
	TrustDomain string
	Certificate *x509.Certificate

	key   crypto.Signer
	chain []*x509.Certificate // from the issued certificates to the authority, without it
	root  *x509.Certificate
}

// NewCA returns an authority that is valid for a month around Start.
func NewCA(trustDomain string) (*CA, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	template := caTemplate(trustDomain)
	certificate, err := certify(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &CA{TrustDomain: trustDomain, Certificate: certificate, key: key, root: certificate}, nil
}

// Intermediate returns an authority below this one.
func (c *CA) Intermediate() (*CA, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	certificate, err := certify(caTemplate(c.TrustDomain), c.Certificate, key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	return &CA{
		TrustDomain: c.TrustDomain, Certificate: certificate, key: key, root: c.root,
		chain: append([]*x509.Certificate{certificate}, c.chain...),
	}, nil
}

// Key returns the authority's own key.
func (c *CA) Key() crypto.Signer { return c.key }

// NewKey returns a new P-256 key.
func NewKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// caTemplate describes an authority as SPIRE makes it: all authorities have the same name.
func caTemplate(trustDomain string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{Country: []string{"US"}, Organization: []string{"SPIFFE"}},
		URIs:         []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
		NotBefore:    Start().AddDate(0, 0, -15), NotAfter: Start().AddDate(0, 0, 15),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true,
	}
}

// leafTemplate describes the SVID of a TaskRun as SPIRE makes it: valid for an hour, from ten seconds before
// the request.
func leafTemplate(trustDomain, namespace, name string) *x509.Certificate {
	issued := Start().Add(5 * time.Second)
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{Country: []string{"US"}, Organization: []string{"SPIRE"}},
		URIs: []*url.URL{{Scheme: "spiffe", Host: trustDomain,
			Path: fmt.Sprintf("/ns/%s/taskrun/%s", namespace, name)}},
		NotBefore: issued.Add(-10 * time.Second), NotAfter: issued.Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
}

func certify(
	template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer,
) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// SVID returns a TaskRun's certificate for a key, followed by its chain to the authority. If change is not
// nil, it changes the template.
func (c *CA) SVID(
	namespace, name string, public crypto.PublicKey, change func(*x509.Certificate),
) ([]*x509.Certificate, error) {
	template := leafTemplate(c.TrustDomain, namespace, name)
	if change != nil {
		change(template)
	}
	leaf, err := certify(template, c.Certificate, public, c.key)
	if err != nil {
		return nil, err
	}
	return append([]*x509.Certificate{leaf}, c.chain...), nil
}

// Bundle returns the authority in the form of a trust bundle.
func (c *CA) Bundle(federated bool) trust.Domain {
	return trust.Domain{
		TrustDomain: c.TrustDomain, Federated: federated, X509Authorities: []trust.X509Authority{Authority(c.root)},
	}
}

// Authority returns a certificate in the form of a trust bundle.
func Authority(certificate *x509.Certificate) trust.X509Authority {
	return trust.X509Authority{DER: base64.StdEncoding.EncodeToString(certificate.Raw)}
}

// ChainCarrier returns the certificates as evidence of format v2 carries them.
func ChainCarrier(chain []*x509.Certificate) string { return spire.FormatChain(chain) }

// carrierOf returns the certificates as evidence carries them.
func carrierOf(chain []*x509.Certificate, legacy bool) string {
	if legacy {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[0].Raw}))
	}
	return ChainCarrier(chain)
}
