// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestFetchBundleBySPIFFE authenticates a bundle endpoint by its SPIFFE ID and a bundle in hand.
func TestFetchBundleBySPIFFE(t *testing.T) {
	own, other := newAuthority(t, testDomain), newAuthority(t, testDomain)
	inPEM := func(a *authority) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			_, _ = w.Write(inPEM(other)) // the next authority
		case "/long":
			_, _ = w.Write(bytes.Repeat([]byte(" "), MaxBundle+1))
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	svid := own.svid(t, "/spire/server")
	server.TLS = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{svid.Certificates[0].Raw}, PrivateKey: svid.PrivateKey}},
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes
	server.StartTLS()
	defer server.Close()
	const id = "spiffe://" + testDomain + "/spire/server"
	for name, tc := range map[string]struct {
		path     string
		endpoint Endpoint
		want     string // in the error; empty: none
	}{
		"right":           {"/", Endpoint{ID: id, Bundle: inPEM(own)}, ""},
		"another ID":      {"/", Endpoint{ID: id + "/other", Bundle: inPEM(own)}, "unexpected ID"},
		"other authority": {"/", Endpoint{ID: id, Bundle: inPEM(other)}, "could not verify leaf certificate"},
		"other domain":    {"/", Endpoint{ID: "spiffe://other.test/spire/server", Bundle: inPEM(own)}, "lab.test"},
		"no bundle":       {"/", Endpoint{ID: id}, "expected X.509 authorities"},
		"no ID":           {"/", Endpoint{Bundle: inPEM(own)}, "the SPIFFE ID of the bundle endpoint"},
		"https_web":       {"/", Endpoint{}, "certificate"},
		"too long":        {"/long", Endpoint{ID: id, Bundle: inPEM(own)}, "at most"},
		"redirected":      {"/moved", Endpoint{ID: id, Bundle: inPEM(own)}, "expected status 200, got 302"},
		"not found":       {"/none", Endpoint{ID: id, Bundle: inPEM(own)}, "expected status 200, got 404"},
	} {
		tc.endpoint.URL = server.URL + tc.path
		got, err := FetchBundle(t.Context(), testDomain, tc.endpoint)
		switch {
		case tc.want == "" && (err != nil || len(got.X509Authorities) != 1):
			t.Errorf("%s: got %+v, %v", name, got, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: expected %q, got %v", name, tc.want, err)
		}
	}
}
