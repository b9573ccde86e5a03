// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/workload"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// stepSigner is the signer of a step, in this process or in another one.
type stepSigner struct {
	Backend     signing.Backend
	Folder      string // the pod's credentials, or its root
	Address, CA string // of the API server
}

// envSign makes the test's program sign once with the signer that it holds as JSON, and end.
const envSign = "TEKTON_SIGN_BENCH_SIGN"

func TestMain(m *testing.M) {
	text := os.Getenv(envSign)
	if text == "" {
		os.Exit(m.Run())
	}
	var s stepSigner
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = s.sign()
	}
	if err == nil {
		err = printPeak()
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// memory returns the most memory of a process that signs once, in bytes.
func (s stepSigner) memory(tb testing.TB) int64 {
	tb.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envSign+"="+string(text))
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	var kib int64
	if _, err := fmt.Sscanf(string(out), "VmHWM: %d kB", &kib); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	return kib << 10
}

// printPeak prints the most memory of this process, as Linux counts it. That of the parent is not in it, other than in
// the usage that wait reports.
func printPeak() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			_, err = os.Stdout.WriteString(line)
			return err
		}
	}
	return errors.New("/proc/self/status has no VmHWM")
}

// sign signs one result as a step's signer does.
func (s stepSigner) sign() error {
	uid, err := signing.ParseUID("6340374f-3a88-4ff2-812e-c155a2d8e142")
	if err != nil {
		return err
	}
	signer := s.client(step.Ended{Config: step.Config{
		Namespace: "ci", TaskRun: "build", TaskRunUID: uid, Container: "step-build", Count: 1, Share: 4096,
		Options: s.options(), API: s.api(),
	}})
	defer func() { _ = signer.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	carriers, err := signer.Sign(ctx, []result.RunResult{
		{Key: "digest", Value: "sha256:aaa", ResultType: result.TaskRunResultType},
	})
	if err == nil && len(carriers) == 0 {
		err = errors.New("expected carriers, got none")
	}
	return err
}

func (s stepSigner) client(ended step.Ended) signing.EntrypointerClient {
	if s.Backend == signing.BackendSPIRE {
		return workload.NewSigner(workload.SignerOptions{Step: ended, Root: s.Folder, Now: time.Now, Random: rand.Reader})
	}
	return oidc.NewSigner(oidc.SignerOptions{Step: ended, CredentialDir: s.Folder, Now: time.Now, Random: rand.Reader})
}

func (s stepSigner) options() step.Options {
	return step.Options{
		Backend: s.Backend, Format: signing.FormatV2, Binding: signing.BindingPayload,
		Tokens: signing.DefaultTokens(),
		SPIRE:  step.SPIRE{TrustDomain: verifytest.TrustDomain, Socket: "agent.sock"},
	}
}

func (s stepSigner) api() step.APIServer {
	if s.Address == "" {
		return step.APIServer{}
	}
	return step.APIServer{Address: s.Address, CAs: []string{s.CA}}
}
