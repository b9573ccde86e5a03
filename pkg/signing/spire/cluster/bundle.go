// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// MaxBundle is how many bytes a bundle of SPIRE may have.
const MaxBundle = 1 << 20

// ParseBundle reads the authorities of a trust domain, as spire-server bundle show prints them: certificates in
// PEM, or a bundle in JSON (SPIFFE Trust Domain and Bundle, section 4).
func ParseBundle(domain string, data []byte) (trust.SPIFFEBundle, error) {
	name, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return trust.SPIFFEBundle{}, fmt.Errorf("trust domain %q: %w", domain, err)
	}
	if len(data) > MaxBundle {
		return trust.SPIFFEBundle{}, fmt.Errorf("expected a bundle of at most %d bytes, got %d", MaxBundle, len(data))
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		bundle, err := spiffebundle.Parse(name, data)
		if err != nil {
			return trust.SPIFFEBundle{}, fmt.Errorf("reading a SPIFFE bundle in JSON: %w", err)
		}
		return spiffeBundle(domain, bundle.X509Authorities())
	}
	bundle, err := x509bundle.Parse(name, data)
	if err != nil {
		return trust.SPIFFEBundle{}, fmt.Errorf("reading certificates in PEM: %w", err)
	}
	return spiffeBundle(domain, bundle.X509Authorities())
}

// FetchBundle reads the authorities of a trust domain from its bundle endpoint with the profile https_web
// (SPIFFE Federation, section 5.2). roots are the authorities of the Web; nil: those of the system.
func FetchBundle(ctx context.Context, domain, url string, roots *x509.CertPool) (trust.SPIFFEBundle, error) {
	name, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return trust.SPIFFEBundle{}, fmt.Errorf("trust domain %q: %w", domain, err)
	}
	bundle, err := federation.FetchBundle(ctx, name, url, federation.WithWebPKIRoots(roots))
	if err != nil {
		return trust.SPIFFEBundle{}, err
	}
	return spiffeBundle(domain, bundle.X509Authorities())
}

func spiffeBundle(domain string, authorities []*x509.Certificate) (trust.SPIFFEBundle, error) {
	if len(authorities) == 0 {
		return trust.SPIFFEBundle{}, fmt.Errorf("expected X.509 authorities of trust domain %s, got none", domain)
	}
	b := trust.SPIFFEBundle{TrustDomain: domain}
	for _, a := range authorities {
		b.X509Authorities = append(b.X509Authorities,
			trust.X509Authority{DER: base64.StdEncoding.EncodeToString(a.Raw)})
	}
	return b, nil
}
