// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/cmd/signer/internal/message"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends/inpod"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// credentialVariable is the environment variable with the credential folder of a signer under test, which
// cannot use that of a pod.
const credentialVariable = "SIGNER_TEST_CREDENTIALS"

// TestMain runs the test binary as a signer or as a fake of Tekton's entrypoint if it is started under one of
// these names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"signer": func() { os.Exit(command(os.Args[1:], os.Stderr, testSignerOf)) },
		"entrypoint": func() {
			if err := fakeEntrypoint(os.Args[1:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(99)
			}
		},
	})
}

// testSignerOf is inpod.Of for steps of oidc-sa-token, with the credentials of the test.
func testSignerOf(backend signing.Backend) (inpod.Factory, error) {
	if backend != signing.BackendOIDCSAToken {
		return inpod.Of(backend)
	}
	return newTestSigner, nil
}

// newTestSigner signs with the credentials of the test.
func newTestSigner(s step.Ended) signing.EntrypointerClient {
	if os.Getenv(credentialVariable) == "panic" {
		panic("a defect")
	}
	return oidc.NewSigner(oidc.SignerOptions{
		Step: s, CredentialDir: os.Getenv(credentialVariable),
		Now: time.Now, Random: rand.Reader,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// bench is the environment of a step: its files, and an API server.
type bench struct {
	config      step.Config
	credentials string
	entrypoint  string
	answer      atomic.Pointer[http.HandlerFunc]
	newPIDs     bool // run the signer as process 1 of its own namespace
	environment []string
}

const (
	benchPodUID     = "3db15e48-971f-4815-84b3-272e52f61a10"
	benchTaskRunUID = "6340374f-3a88-4ff2-812e-c155a2d8e142"
)

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{credentials: t.TempDir()}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*b.answer.Load())(w, r)
	}))
	b.answerWith(grant)
	t.Cleanup(server.Close)
	// The environment comes from Services that others may have created.
	b.environment = []string{"KUBERNETES_SERVICE_HOST=127.0.0.9", "KUBERNETES_SERVICE_PORT=9",
		"HTTPS_PROXY=http://127.0.0.9:9"}
	digest := sha256.Sum256(server.Certificate().Raw)
	write(t, filepath.Join(b.credentials, "ca.crt"),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	write(t, filepath.Join(b.credentials, "token"), jwt(map[string]any{"kubernetes.io": map[string]any{
		"namespace": "ci", "serviceaccount": map[string]any{"name": "builder"},
		"pod": map[string]any{"name": "build-pod", "uid": benchPodUID},
	}}))
	var err error
	if b.entrypoint, err = exec.LookPath("entrypoint"); err != nil {
		t.Fatal(err)
	}
	uid, err := signing.ParseUID(benchTaskRunUID)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b.config = step.Config{
		Namespace: "ci", TaskRun: "build", TaskRunUID: uid, Container: "step-build", Index: 0, Count: 1, Share: 4096,
		PostFile: filepath.Join(dir, "out"), TerminationPath: filepath.Join(dir, "termination"),
		Options: step.Options{
			Backend: signing.BackendOIDCSAToken, Format: signing.FormatV2, Binding: signing.BindingPayload,
			Tokens: signing.DefaultTokens(),
		},
		API:      step.APIServer{Address: server.URL, CAs: []string{hex.EncodeToString(digest[:])}},
		Patience: 5 * time.Second,
	}
	write(t, b.config.TerminationPath, "")
	return b
}

// answerWith makes the API server answer with handler instead of granting tokens.
func (b *bench) answerWith(handler http.HandlerFunc) { b.answer.Store(&handler) }

func jwt(claims map[string]any) string {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode(b) + "." + encode([]byte("signature"))
}

// grant answers a TokenRequest as an API server does.
func grant(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Spec struct{ Audiences []string }
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"status":{"token":%q}}`, jwt(map[string]any{"aud": request.Spec.Audiences}))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// outcome is the visible outcome of a step.
type outcome struct {
	code           int
	stdout, stderr string
}

// command prepares a signer around a fake entrypoint with these operations.
func (b *bench) command(t *testing.T, operations ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("signer", b.config.Args(append([]string{b.entrypoint}, operations...))...)
	cmd.Env = append(append(os.Environ(), credentialVariable+"="+b.credentials, "GORACE=atexit_sleep_ms=0"),
		b.environment...)
	if b.newPIDs {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
		if os.Getuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		}
	}
	return cmd
}

// run runs a step to its end.
func (b *bench) run(t *testing.T, operations ...string) outcome {
	t.Helper()
	cmd := b.command(t, operations...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Stdin = strings.NewReader("from stdin")
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// text returns the termination message as the kubelet would read it.
func (b *bench) text(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(b.config.TerminationPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// signedEntries returns what the step emitted according to its evidence. It fails unless the token vouches
// for exactly that and the exit code.
func (b *bench) signedEntries(t *testing.T, exitCode int32) []signing.Entry {
	t.Helper()
	all := parse(t, b.text(t))
	header, err := signing.ParseManifest(all[signing.CarrierManifest].Value)
	if err != nil {
		t.Fatalf("%v in the message %s", err, b.text(t))
	}
	results := make([]result.RunResult, 0, len(all))
	for _, r := range all {
		results = append(results, r)
	}
	entries, err := signing.EntriesOf(results)
	if err != nil {
		t.Fatal(err)
	}
	unit := signing.Unit{
		Header: header, Namespace: "ci", TaskRun: "build", Pod: "build-pod", Container: "step-build",
		ExitCode: exitCode, Entries: entries,
	}
	want := jwt(map[string]any{"aud": []string{signing.PayloadAudience(signing.AudiencePrefix, unit.Digest())}})
	if got := all[signing.CarrierToken].Value; got != want {
		t.Errorf("token %s, want %s", got, want)
	}
	if int(header.Entries) != len(entries) {
		t.Errorf("the header counts %d entries, the message has %d", header.Entries, len(entries))
	}
	return entries
}

// parse returns the message's entries by key, including the reserved ones.
func parse(t *testing.T, text string) map[string]result.RunResult {
	t.Helper()
	m, err := message.Parse([]byte(text), func(result.RunResult) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]result.RunResult{}
	for _, r := range m.Results {
		all[r.Key] = r
	}
	return all
}
