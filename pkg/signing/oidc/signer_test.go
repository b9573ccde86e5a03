// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
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
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

const (
	testPodUID     = "3db15e48-971f-4815-84b3-272e52f61a10"
	testTaskRunUID = "6340374f-3a88-4ff2-812e-c155a2d8e142"
)

// jwt returns a compact JWS with these claims and no real signature.
func jwt(claims map[string]any) string {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode(b) + "." + encode([]byte("signature"))
}

func podToken() string {
	return jwt(map[string]any{
		"aud": []string{"https://kubernetes.default.svc"},
		"kubernetes.io": map[string]any{
			"namespace":      "ci",
			"pod":            map[string]any{"name": "build-pod", "uid": testPodUID},
			"serviceaccount": map[string]any{"name": "builder", "uid": "x"},
		},
	})
}

// fakeAPI is a TLS server and the credential folder of a pod that trusts it.
type fakeAPI struct {
	options SignerOptions
	calls   atomic.Int32
	last    struct {
		path, authorization string
		body                map[string]any
	}
}

// newFakeAPI answers each call with what answer returns for the audience asked for; calls count from 1.
func newFakeAPI(t *testing.T, answer func(call int, audience string, w http.ResponseWriter)) *fakeAPI {
	t.Helper()
	f := &fakeAPI{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := f.calls.Add(1)
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		f.last.path, f.last.authorization, f.last.body = r.URL.Path, r.Header.Get("Authorization"), nil
		if err := json.Unmarshal(b, &f.last.body); err != nil {
			t.Errorf("request body %q: %v", b, err)
		}
		audience, _ := f.last.body["spec"].(map[string]any)["audiences"].([]any)[0].(string)
		answer(int(call), audience, w)
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	writeFile(t, dir, "token", []byte(podToken()))
	writeFile(t, dir, "ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	uid, err := signing.ParseUID(testTaskRunUID)
	if err != nil {
		t.Fatal(err)
	}
	f.options = SignerOptions{
		Step: step.Config{
			Namespace: "ci", TaskRun: "build", TaskRunUID: uid, Container: "step-build", Index: 1, Count: 2,
			Share: 4096, AudiencePrefix: signing.AudiencePrefix,
		},
		CredentialDir: dir, Host: host, Port: port,
		Now: func() time.Time { return time.Unix(1795341966, 5).UTC() },
	}
	return f
}

func writeFile(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *fakeAPI) sign(t *testing.T, budget time.Duration, results ...result.RunResult) ([]result.RunResult, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), budget)
	defer cancel()
	signer := NewSigner(f.options)
	defer signer.Close()
	return signer.Sign(ctx, results)
}

// grant answers with a token whose claim aud is audience.
func grant(w http.ResponseWriter, audience any) string {
	token := jwt(map[string]any{"aud": audience})
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"kind":"TokenRequest","status":{"token":%q}}`, token)
	return token
}

func refuse(w http.ResponseWriter, status int, message string) {
	b, err := json.Marshal(map[string]string{"kind": "Status", "message": message})
	if err != nil {
		panic(err)
	}
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func TestSignBindsTheTokenToTheUnit(t *testing.T) {
	var token string
	f := newFakeAPI(t, func(_ int, audience string, w http.ResponseWriter) { token = grant(w, []string{audience}) })
	f.options.ExitCode = 3
	results := []result.RunResult{
		{Key: "digest", Value: "sha256:aaa", ResultType: result.TaskRunResultType},
		{Key: "StartedAt", Value: "2026-11-22T10:00:00.000Z", ResultType: result.InternalTektonResultType},
		{Key: "scan", Value: "clean", ResultType: result.StepResultType},
	}
	carriers, err := f.sign(t, 5*time.Second, results...)
	if err != nil {
		t.Fatal(err)
	}

	podUID, err := signing.ParseUID(testPodUID)
	if err != nil {
		t.Fatal(err)
	}
	unit := signing.Unit{
		Header: signing.Header{
			Scheme: signing.SchemeOIDCPayloadBound, Flags: signing.FlagLast | signing.FlagStepFails,
			PodUID: podUID, TaskRunUID: f.options.Step.TaskRunUID, SignedAt: time.Unix(1795341966, 0).UTC(),
			Index: 1, Count: 2, Entries: 2,
		},
		Namespace: "ci", TaskRun: "build", Pod: "build-pod", Container: "step-build", ExitCode: 3,
		Entries: []signing.Entry{
			{Kind: result.TaskRunResultType, Name: "digest", Value: "sha256:aaa"},
			{Kind: result.StepResultType, Name: "scan", Value: "clean"},
		},
	}
	wantCarriers := []result.RunResult{
		{Key: "RESULT_MANIFEST", Value: unit.Header.Manifest(), ResultType: result.TaskRunResultType},
		{Key: "SIGNING_TOKEN", Value: token, ResultType: result.TaskRunResultType},
	}
	if diff := cmp.Diff(wantCarriers, carriers); diff != "" {
		t.Errorf("carriers differ (-want +got):\n%s", diff)
	}
	wantBody := map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": map[string]any{
			"audiences":         []any{signing.PayloadAudience("tekton-result-signing", unit.Digest())},
			"expirationSeconds": 600.0,
			"boundObjectRef":    map[string]any{"kind": "Pod", "apiVersion": "v1", "name": "build-pod", "uid": testPodUID},
		},
	}
	if diff := cmp.Diff(wantBody, f.last.body); diff != "" {
		t.Errorf("request differs (-want +got):\n%s", diff)
	}
	if want := "/api/v1/namespaces/ci/serviceaccounts/builder/token"; f.last.path != want {
		t.Errorf("path %q, want %q", f.last.path, want)
	}
	if want := "Bearer " + podToken(); f.last.authorization != want {
		t.Errorf("authorization %q, want %q", f.last.authorization, want)
	}
}

func TestSignTakesARecordedExitCode(t *testing.T) {
	var audience string
	f := newFakeAPI(t, func(_ int, a string, w http.ResponseWriter) { audience = a; grant(w, a) })
	carriers, err := f.sign(t, 5*time.Second, result.RunResult{Key: "ExitCode", Value: "7", ResultType: 3})
	if err != nil {
		t.Fatal(err)
	}
	header, err := signing.ParseManifest(carriers[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	unit := signing.Unit{
		Header: header, Namespace: "ci", TaskRun: "build", Pod: "build-pod", Container: "step-build", ExitCode: 7,
	}
	if want := signing.PayloadAudience(signing.AudiencePrefix, unit.Digest()); audience != want {
		t.Errorf("audience %q, want %q", audience, want)
	}
	if header.Flags != signing.FlagLast {
		t.Errorf("flags %b, want only the last step's: the container exits 0", header.Flags)
	}
}

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
