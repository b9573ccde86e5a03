// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

const bundleDomain = "ci.example"

// inJSON returns a SPIFFE bundle with a certificate.
func inJSON(t *testing.T, c *x509.Certificate) []byte {
	t.Helper()
	bundle := spiffebundle.New(spiffeid.RequireTrustDomainFromString(bundleDomain))
	bundle.AddX509Authority(c)
	data, err := bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBundles(t *testing.T) {
	ca, err := verifytest.NewCA(bundleDomain)
	if err != nil {
		t.Fatal(err)
	}
	want := trust.Domain{TrustDomain: bundleDomain, X509Authorities: []trust.X509Authority{
		{DER: base64.StdEncoding.EncodeToString(ca.Certificate.Raw)},
	}}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate.Raw})
	for name, data := range map[string][]byte{
		"PEM": asPEM, "JSON": inJSON(t, ca.Certificate),
		"JSON after spaces": append([]byte("\n "), inJSON(t, ca.Certificate)...),
	} {
		got, err := spirecluster.ParseBundle(bundleDomain, data)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(inJSON(t, ca.Certificate))
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	got, err := spirecluster.FetchBundle(t.Context(), bundleDomain, spirecluster.Endpoint{URL: server.URL, Roots: roots})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("endpoint: %v (-want +got):\n%s", err, diff)
	}
	if _, err := spirecluster.FetchBundle(t.Context(), bundleDomain, spirecluster.Endpoint{URL: server.URL}); err == nil {
		t.Error("an endpoint with an unknown certificate is accepted")
	}
}

func TestParseBundleRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ domain, data, want string }{
		"no domain":      {"", "", "trust domain"},
		"nothing":        {bundleDomain, "", "expected X.509 authorities"},
		"no certificate": {bundleDomain, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "PEM"},
		"broken JSON":    {bundleDomain, `{"keys":`, "JSON"},
		"no authorities": {bundleDomain, `{"keys":[]}`, "expected X.509 authorities"},
		"far too long":   {bundleDomain, string(bytes.Repeat([]byte(" "), spirecluster.MaxBundle+1)), "at most"},
	} {
		_, err := spirecluster.ParseBundle(tc.domain, []byte(tc.data))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: expected %q, got %v", name, tc.want, err)
		}
	}
}
