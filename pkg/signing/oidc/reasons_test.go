// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
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
			signing.UnsignedTokenDenied, "answered 403: no  [31mway; ", 1},
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
	f.options.Host = "127.0.0.2"
	_, f.options.Port, _ = net.SplitHostPort(listener.Addr().String())
	carriers, err := f.sign(t, time.Second)
	wantReason(t, carriers, err, signing.UnsignedAPIUnreachable, "is not the one of ca.crt")
}

func TestSignWithoutServer(t *testing.T) {
	f := newFakeAPI(t, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, f.options.Port, _ = net.SplitHostPort(listener.Addr().String())
	listener.Close()
	carriers, err := f.sign(t, 500*time.Millisecond)
	wantReason(t, carriers, err, signing.UnsignedAPIUnreachable, "connection refused")

	f.options.Host = ""
	carriers, err = f.sign(t, time.Second)
	wantReason(t, carriers, err, signing.UnsignedAPIUnreachable, "KUBERNETES_SERVICE_HOST")
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
		content    []byte // nil: the file is missing
	}{
		"no token":       {"token", "has no service account token", nil},
		"large token":    {"token", "larger than 8192 bytes", make([]byte, 8193)},
		"no JWT":         {"token", "expected a token of 3 parts, got 1", []byte("x")},
		"no base64url":   {"token", "decoding the token", []byte("a.b.c")},
		"no claims":      {"token", "reading the token's claims", []byte("e30.e30x.e30")},
		"no CA":          {"ca.crt", "has no certificate authority", nil},
		"CA without PEM": {"ca.crt", "has no PEM certificate", []byte("x")},
		"other namespace": {"token", `expected a token of namespace "ci", got one of "prod"`,
			kubernetes(func(k map[string]any) { k["namespace"] = "prod" })},
		"no account": {"token", "names no service account", kubernetes(func(k map[string]any) { delete(k, "serviceaccount") })},
		"no pod":     {"token", "bound to no pod", kubernetes(func(k map[string]any) { delete(k, "pod") })},
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
