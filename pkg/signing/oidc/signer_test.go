// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

// newFakeAPI answers each call with the return value of answer for the requested audience. Calls count from
// 1.
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
	uid, err := signing.ParseUID(testTaskRunUID)
	if err != nil {
		t.Fatal(err)
	}
	f.options = SignerOptions{
		Step: step.Ended{Config: step.Config{
			Namespace: "ci", TaskRun: "build", TaskRunUID: uid, Container: "step-build", Index: 1, Count: 2,
			Share: 4096,
			Options: step.Options{
				Backend: signing.BackendOIDCSAToken, Format: signing.FormatV2, Binding: signing.BindingPayload,
				Tokens: signing.DefaultTokens(),
			},
			API: step.APIServer{Address: server.URL, CAs: []string{digestOf(server.Certificate())}},
		}},
		CredentialDir: dir,
		Now:           func() time.Time { return time.Unix(1795341966, 5).UTC() }, Random: rand.Reader,
	}
	return f
}

func digestOf(c *x509.Certificate) string {
	digest := sha256.Sum256(c.Raw)
	return hex.EncodeToString(digest[:])
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
	f.options.Step.ExitCode = 3
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
			PodUID: podUID, TaskRunUID: f.options.Step.Config.TaskRunUID, SignedAt: time.Unix(1795341966, 0).UTC(),
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
