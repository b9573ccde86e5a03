// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// newPod returns a bench for the second of two steps, and the folder of the first.
func newPod(t *testing.T) (b *bench, first string) {
	t.Helper()
	b = newBench(t)
	run := t.TempDir()
	first = filepath.Join(run, "0")
	for _, dir := range []string{first, filepath.Join(run, "1")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.config.Index, b.config.Count, b.config.PostFile = 1, 2, filepath.Join(run, "1", "out")
	return b, first
}

// TestRunHurriesAfterAFailure checks that only one step of a pod waits for the API server.
func TestRunHurriesAfterAFailure(t *testing.T) {
	b, first := newPod(t)
	var calls atomic.Int32
	b.answerWith(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		http.Error(w, "down", http.StatusServiceUnavailable)
	})
	mark := filepath.Join(filepath.Dir(b.config.PostFile), noTokenFile)
	if b.run(t, "exit", "0"); calls.Load() < 3 || !exists(t, mark) {
		t.Errorf("%d calls of the first step to fail, mark %v, want several and a mark", calls.Load(), exists(t, mark))
	}
	write(t, filepath.Join(first, noTokenFile), "")
	calls.Store(0)
	if b.run(t, "exit", "0"); calls.Load() != 1 {
		t.Errorf("%d calls after an earlier step's failure, want 1", calls.Load())
	}
}

// TestRunSignsInHaste checks that a later step is signed even if an earlier step forged the mark.
func TestRunSignsInHaste(t *testing.T) {
	b, first := newPod(t)
	if err := os.Symlink("/dev/zero", filepath.Join(first, noTokenFile)); err != nil {
		t.Fatal(err)
	}
	if got := b.run(t, "write", b.config.TerminationPath, stockMessage); got != (outcome{}) {
		t.Errorf("outcome %+v", got)
	}
	if !strings.Contains(b.text(t), "SIGNING_TOKEN") {
		t.Errorf("not signed: %s", b.text(t))
	}
}

// TestRunMarksNothingElse expects no mark for reasons that do not apply to later steps, and no mark through a
// link.
func TestRunMarksNothingElse(t *testing.T) {
	b, _ := newPod(t)
	dir := filepath.Dir(b.config.PostFile)
	b.config.Share = 100
	b.run(t, "write", b.config.TerminationPath, stockMessage)
	if exists(t, filepath.Join(dir, noTokenFile)) {
		t.Error("a message that is too long is no matter of later steps")
	}
	b.answerWith(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusNotFound) })
	target := filepath.Join(t.TempDir(), "target")
	if err := os.Symlink(target, filepath.Join(dir, noTokenFile)); err != nil {
		t.Fatal(err)
	}
	b.run(t, "exit", "0")
	if exists(t, target) {
		t.Error("the mark was written through a link of the step's")
	}
}

// TestRunOfAnEarlierAddOn checks that the step runs and is not signed.
func TestRunOfAnEarlierAddOn(t *testing.T) {
	b := newBench(t)
	b.config.API, b.config.Patience = step.APIServer{}, 0
	var calls atomic.Int32
	b.answerWith(func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	got := b.run(t, "write", b.config.TerminationPath, stockMessage, "exit", "3")
	if got.code != 3 || !strings.Contains(got.stderr,
		"(api-unreachable): the add-on that injected this pod named no API server; ") {
		t.Errorf("outcome %+v", got)
	}
	if !strings.Contains(b.text(t), "none:api-unreachable") || calls.Load() != 0 {
		t.Errorf("%d calls, message %s", calls.Load(), b.text(t))
	}
}
