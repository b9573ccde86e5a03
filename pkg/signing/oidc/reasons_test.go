// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

func TestSignReasons(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(call int, audience string, w http.ResponseWriter)
		reason signing.UnsignedReason
		text   string
		calls  int32
	}{
		"unauthorized": {func(_ int, _ string, w http.ResponseWriter) { refuse(w, 401, "Unauthorized") },
			signing.UnsignedTokenDenied, "answered 401: Unauthorized; run kubectl tekton-sign enable", 1},
		"forbidden": {func(_ int, _ string, w http.ResponseWriter) { refuse(w, 403, "no\n\x1b[31mway") },
			signing.UnsignedTokenDenied, "answered 403: no  [31mway; ", 3},
		"not found": {func(_ int, _ string, w http.ResponseWriter) { refuse(w, 404, "gone") },
			signing.UnsignedTokenDenied, "404: gone", 1},
		"long message": {func(_ int, _ string, w http.ResponseWriter) { refuse(w, 422, strings.Repeat("ä", 301)) },
			signing.UnsignedTokenDenied, ": " + strings.Repeat("ä", 300) + "…; ", 1},
		"other audience": {func(_ int, a string, w http.ResponseWriter) { grant(w, []string{a + "x"}) },
			signing.UnsignedTokenDenied, "expected a token for audience", 1},
		"second audience": {func(_ int, a string, w http.ResponseWriter) { grant(w, []string{a, "api"}) },
			signing.UnsignedTokenDenied, "expected a token for audience", 1},
		"no audience": {func(_ int, _ string, w http.ResponseWriter) { grant(w, nil) },
			signing.UnsignedTokenDenied, "expected a token for audience", 1},
		"no token": {func(_ int, _ string, w http.ResponseWriter) { fmt.Fprint(w, `{}`) },
			signing.UnsignedTokenDenied, "no usable token", 1},
		"long token": {func(_ int, _ string, w http.ResponseWriter) {
			fmt.Fprintf(w, `{"status":{"token":%q}}`, strings.Repeat("a", 8193))
		}, signing.UnsignedTokenDenied, "at most 8192 bytes, got 8193", 1},
		"garbage": {func(_ int, _ string, w http.ResponseWriter) { fmt.Fprint(w, `<html>`) },
			signing.UnsignedAPIUnreachable, "reading the API server's answer", 1},
		"endless answer": {func(_ int, _ string, w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat(" ", 65537)) },
			signing.UnsignedAPIUnreachable, "at most 65536 bytes", 1},
		"redirect": {func(_ int, _ string, w http.ResponseWriter) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, signing.UnsignedAPIUnreachable, "got 307", 1},
		"broken server": {func(_ int, _ string, w http.ResponseWriter) { refuse(w, 500, "etcd") },
			signing.UnsignedAPIUnreachable, "answered 500: etcd", 3},
		"overloaded": {func(_ int, _ string, w http.ResponseWriter) { refuse(w, 429, "slow down") },
			signing.UnsignedAPIUnreachable, "answered 429: slow down", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeAPI(t, c.answer)
			carriers, err := f.sign(t, time.Second)
			wantReason(t, carriers, err, c.reason, c.text)
			if got := f.calls.Load(); got != c.calls {
				t.Errorf("%d requests, want %d", got, c.calls)
			}
		})
	}
}

func wantReason(t *testing.T, carriers []result.RunResult, err error, reason signing.UnsignedReason, text string) {
	t.Helper()
	var unsigned *signing.UnsignedError
	if !errors.As(err, &unsigned) {
		t.Fatalf("got %v, %v, want an UnsignedError", carriers, err)
	}
	if unsigned.Reason != reason {
		t.Errorf("reason %q, want %q", unsigned.Reason, reason)
	}
	if got := unsigned.Err.Error(); !strings.Contains(got, text) || !strings.Contains(got, "; ") {
		t.Errorf("error %q, want it to contain %q and, behind a semicolon, the next step", got, text)
	}
	if strings.Contains(err.Error(), podToken()) {
		t.Error("the error contains the pod's token")
	}
	if carriers != nil {
		t.Errorf("carriers %v, want none", carriers)
	}
}

func TestSignTriesAgain(t *testing.T) {
	f := newFakeAPI(t, func(call int, audience string, w http.ResponseWriter) {
		if call < 3 {
			refuse(w, 503, "starting")
			return
		}
		grant(w, audience)
	})
	if _, err := f.sign(t, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if got := f.calls.Load(); got != 3 {
		t.Errorf("%d requests, want 3", got)
	}
}

func TestSignEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	f := newFakeAPI(t, func(int, string, http.ResponseWriter) { <-release })
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	carriers, err := NewSigner(f.options).Sign(ctx, nil)
	wantReason(t, carriers, err, signing.UnsignedAPIUnreachable, "check the network policies of namespace ci")
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v after the context had ended", took)
	}
}

func TestSignRefusesAnotherServer(t *testing.T) {
	// httptest gives every server the same certificate, so the other one needs an address that it does not name.
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Listener.Close()
	server.Listener = listener
	server.StartTLS()
	t.Cleanup(server.Close)
	f := newFakeAPI(t, nil)
	f.options.Step.Config.API.Address = "https://" + listener.Addr().String()
	carriers, err := f.sign(t, time.Second)
	wantReason(t, carriers, err, signing.UnsignedAPIUnreachable, "is not the one that the add-on knows")
}

func TestSignWithoutServer(t *testing.T) {
	f := newFakeAPI(t, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.options.Step.Config.API.Address = "https://" + listener.Addr().String()
	listener.Close()
	carriers, err := f.sign(t, 500*time.Millisecond)
	wantReason(t, carriers, err, signing.UnsignedAPIUnreachable, "connection refused")
}

func TestSignWithoutCredential(t *testing.T) {
	kubernetes := func(change func(map[string]any)) []byte {
		k := map[string]any{
			"namespace":      "ci",
			"pod":            map[string]any{"name": "build-pod", "uid": testPodUID},
			"serviceaccount": map[string]any{"name": "builder"},
		}
		change(k)
		return []byte(jwt(map[string]any{"kubernetes.io": k}))
	}
	for name, c := range map[string]struct {
		file, text string
		content    []byte // nil if the file is missing
	}{
		"no token":     {"token", "has no service account token", nil},
		"large token":  {"token", "larger than 8192 bytes", make([]byte, 8193)},
		"no JWT":       {"token", "expected a token of 3 parts, got 1", []byte("x")},
		"no base64url": {"token", "decoding the token", []byte("a.b.c")},
		"no claims":    {"token", "reading the token's claims", []byte("e30.e30x.e30")},
		"other namespace": {"token", `expected a token of namespace "ci", got one of "prod"`,
			kubernetes(func(k map[string]any) { k["namespace"] = "prod" })},
		"no account": {
			"token", "names no service account", kubernetes(func(k map[string]any) { delete(k, "serviceaccount") }),
		},
		"no pod":     {"token", "not bound to a pod", kubernetes(func(k map[string]any) { delete(k, "pod") })},
		"no pod UID": {"token", "invalid UID", kubernetes(func(k map[string]any) { k["pod"] = map[string]any{"name": "p"} })},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAPI(t, func(_ int, a string, w http.ResponseWriter) { grant(w, a) })
			file := filepath.Join(f.options.CredentialDir, c.file)
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if c.content != nil {
				writeFile(t, f.options.CredentialDir, c.file, c.content)
			}
			carriers, err := f.sign(t, time.Second)
			wantReason(t, carriers, err, signing.UnsignedNoCredential, c.text)
			if got := f.calls.Load(); got != 0 {
				t.Errorf("%d requests, want none", got)
			}
		})
	}
}

func TestSignAsksNoProxy(t *testing.T) {
	transport, ok := tokenRequest{}.client().Transport.(*http.Transport)
	if !ok || transport.Proxy != nil {
		t.Error("the client would hand the pod's token to a proxy")
	}
}

// TestSignTrustsNobodyElse points the pod to another API server. The signer does not send the pod's token,
// and does not even read it.
func TestSignTrustsNobodyElse(t *testing.T) {
	hostile := func() []byte {
		_, other := selfSigned(t)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Raw})
	}()
	for name, c := range map[string]struct {
		change func(f *fakeAPI)
		text   string
	}{
		"no CA": {
			func(f *fakeAPI) { _ = os.Remove(filepath.Join(f.options.CredentialDir, "ca.crt")) }, "has no certificate authority",
		},
		"CA without PEM": {
			func(f *fakeAPI) { writeFile(t, f.options.CredentialDir, "ca.crt", []byte("x")) }, "that the add-on knows",
		},
		"CA of another": {
			func(f *fakeAPI) { writeFile(t, f.options.CredentialDir, "ca.crt", hostile) }, "that the add-on knows",
		},
		"CA not named": {
			func(f *fakeAPI) { f.options.Step.Config.API.CAs = []string{strings.Repeat("00", 32)} }, "that the add-on knows",
		},
		"no server named": {func(f *fakeAPI) { f.options.Step.Config.API = step.APIServer{} }, "named no API server"},
		"no CA named": {
			func(f *fakeAPI) { f.options.Step.Config.API.CAs = nil }, "expected 1 to 64 times -api-server-ca",
		},
		"no encryption": {
			func(f *fakeAPI) { f.options.Step.Config.API.Address = "http://127.0.0.1:80" },
			"expected -api-server https://HOST:PORT",
		},
	} {
		f := newFakeAPI(t, func(_ int, a string, w http.ResponseWriter) { grant(w, a) })
		c.change(f)
		// This token cannot be read, so reading it would fail in another way.
		if err := os.WriteFile(filepath.Join(f.options.CredentialDir, "token"), make([]byte, 9000), 0o600); err != nil {
			t.Fatal(err)
		}
		carriers, err := f.sign(t, time.Second)
		wantReason(t, carriers, err, signing.UnsignedAPIUnreachable, c.text)
		if got := f.calls.Load(); got != 0 {
			t.Errorf("%s: %d requests, want none", name, got)
		}
	}
}

// TestSignUsesOnlyTheNamedAuthority uses the server of a namespace editor, whose certificate the pod's ca.crt
// trusts.
func TestSignUsesOnlyTheNamedAuthority(t *testing.T) {
	f := newFakeAPI(t, nil)
	pair, other := selfSigned(t)
	calls := 0
	hostile := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ }))
	hostile.Config.ErrorLog = log.New(io.Discard, "", 0)
	hostile.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	hostile.StartTLS()
	t.Cleanup(hostile.Close)
	ca, err := os.ReadFile(filepath.Join(f.options.CredentialDir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Raw}), ca...)
	writeFile(t, f.options.CredentialDir, "ca.crt", both)

	f.options.Step.Config.API.Address = hostile.URL // as if the address had been redirected
	carriers, err := f.sign(t, time.Second)
	wantReason(t, carriers, err, signing.UnsignedAPIUnreachable, "is not the one that the add-on knows")
	if calls != 0 {
		t.Errorf("%d requests came, want none", calls)
	}
	cas := &f.options.Step.Config.API.CAs
	*cas = append(*cas, digestOf(other)) // the second authority of a rotation
	carriers, err = f.sign(t, time.Second)
	wantReason(t, carriers, err, signing.UnsignedAPIUnreachable, "reading the API server's answer")
	if calls != 1 {
		t.Errorf("%d requests came, want 1: the server of this test is not reached", calls)
	}
}

// TestSignWaitsForTheGrant creates the grant a moment after the namespace.
func TestSignWaitsForTheGrant(t *testing.T) {
	f := newFakeAPI(t, func(call int, audience string, w http.ResponseWriter) {
		if call < 3 {
			refuse(w, 403, "not yet")
			return
		}
		grant(w, audience)
	})
	if _, err := f.sign(t, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	f = newFakeAPI(t, func(_ int, _ string, w http.ResponseWriter) { refuse(w, 403, "never") })
	f.options.Step.Hasty = true
	carriers, err := f.sign(t, 5*time.Second)
	wantReason(t, carriers, err, signing.UnsignedTokenDenied, "answered 403: never")
	if got := f.calls.Load(); got != 1 {
		t.Errorf("%d requests in haste, want 1", got)
	}
}

// TestSignGivesUpWhereNobodyAnswers checks that a firewall that drops everything costs little time.
func TestSignGivesUpWhereNobodyAnswers(t *testing.T) {
	silence := func() error { return &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded} }
	for name, c := range map[string]struct {
		errors []error
		want   int
		hasty  bool
	}{
		"dropped":           {[]error{silence(), silence(), silence()}, 2, false},
		"dropped, in haste": {[]error{silence(), silence()}, 1, true},
		"one dead server":   {[]error{silence(), io.EOF, silence(), io.EOF}, 4, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			attempts := 0
			_, err := tokenRequest{hasty: c.hasty}.repeat(ctx, func() (string, error) {
				attempts++
				return "", retryable{unreachable(c.errors[min(attempts, len(c.errors))-1])}
			})
			if err == nil || attempts != c.want {
				t.Errorf("%s: %d attempts, %v, want %d", name, attempts, err, c.want)
			}
		})
	}
}

// selfSigned returns a certificate for 127.0.0.1 that is its own authority.
func selfSigned(t *testing.T) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, parsed
}
