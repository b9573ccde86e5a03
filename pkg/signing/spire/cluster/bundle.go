// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// MaxBundle is how many bytes a bundle of SPIRE may have.
const MaxBundle = 1 << 20

// ParseBundle reads the authorities of a trust domain, as spire-server bundle show prints them: certificates in
// PEM, or a bundle in JSON (SPIFFE Trust Domain and Bundle, section 4).
func ParseBundle(domain string, data []byte) (trust.Domain, error) {
	name, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return trust.Domain{}, fmt.Errorf("trust domain %q: %w", domain, err)
	}
	if len(data) > MaxBundle {
		return trust.Domain{}, fmt.Errorf("expected a bundle of at most %d bytes, got %d", MaxBundle, len(data))
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		bundle, err := spiffebundle.Parse(name, data)
		if err != nil {
			return trust.Domain{}, fmt.Errorf("reading a SPIFFE bundle in JSON: %w", err)
		}
		return spiffeBundle(domain, bundle.X509Authorities())
	}
	bundle, err := x509bundle.Parse(name, data)
	if err != nil {
		return trust.Domain{}, fmt.Errorf("reading certificates in PEM: %w", err)
	}
	return spiffeBundle(domain, bundle.X509Authorities())
}

// Endpoint is a bundle endpoint and how to authenticate it (SPIFFE Federation, section 5).
type Endpoint struct {
	URL string
	// ID and Bundle choose the profile https_spiffe: the endpoint must have this SPIFFE ID, issued by an authority of
	// this bundle of the ID's trust domain, in PEM or SPIFFE JSON.
	ID     string
	Bundle []byte
	// Roots are the authorities of the Web for the profile https_web; nil: those of the system.
	Roots *x509.CertPool
}

// fetchTimeout bounds a request to a bundle endpoint.
const fetchTimeout = 30 * time.Second

// FetchBundle reads the authorities of a trust domain from its bundle endpoint.
func FetchBundle(ctx context.Context, domain string, endpoint Endpoint) (trust.Domain, error) {
	config, err := endpoint.tls()
	if err != nil {
		return trust.Domain{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	data, err := fetch(ctx, endpoint.URL, config)
	if err != nil {
		return trust.Domain{}, fmt.Errorf("reading the bundle endpoint: %w", err)
	}
	return ParseBundle(domain, data)
}

// tls returns how to authenticate the endpoint.
func (e Endpoint) tls() (*tls.Config, error) {
	if e.Bundle == nil && e.ID == "" {
		return &tls.Config{RootCAs: e.Roots, MinVersion: tls.VersionTLS12}, nil
	}
	id, err := spiffeid.FromString(e.ID)
	if err != nil {
		return nil, fmt.Errorf("the SPIFFE ID of the bundle endpoint: %w", err)
	}
	known, err := ParseBundle(id.TrustDomain().Name(), e.Bundle)
	if err != nil {
		return nil, fmt.Errorf("the bundle that authenticates the endpoint: %w", err)
	}
	bundle := x509bundle.New(id.TrustDomain())
	for _, a := range known.X509Authorities {
		certificate, err := a.Certificate()
		if err != nil {
			return nil, fmt.Errorf("the bundle that authenticates the endpoint: %w", err)
		}
		bundle.AddX509Authority(certificate)
	}
	return tlsconfig.TLSClientConfig(bundle, tlsconfig.AuthorizeID(id)), nil
}

// fetch reads a bundle. It follows no redirects: another endpoint needs another authentication.
func fetch(ctx context.Context, url string, config *tls.Config) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("expected status 200, got %s: check the URL", response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, MaxBundle+1)) // ParseBundle refuses what is longer
}

func spiffeBundle(domain string, authorities []*x509.Certificate) (trust.Domain, error) {
	if len(authorities) == 0 {
		return trust.Domain{}, fmt.Errorf("expected X.509 authorities of trust domain %s, got none", domain)
	}
	b := trust.Domain{TrustDomain: domain}
	for _, a := range authorities {
		b.X509Authorities = append(b.X509Authorities,
			trust.X509Authority{DER: base64.StdEncoding.EncodeToString(a.Raw)})
	}
	return b, nil
}
