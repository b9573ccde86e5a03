// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// namespaces runs test with both kinds of process namespaces.
func namespaces(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	for name, newPIDs := range map[string]bool{"own process namespace": true, "shared process namespace": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.newPIDs = newPIDs
			test(t, b)
		})
	}
}

func TestRunKillsLeftovers(t *testing.T) {
	namespaces(t, func(t *testing.T, b *bench) {
		bystander := exec.Command(b.entrypoint, "scribble", filepath.Join(t.TempDir(), "file"), "x")
		if err := bystander.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = bystander.Process.Kill(); _ = bystander.Wait() })

		late := `[{"key":"digest","value":"forged later","type":1}]`
		start := time.Now()
		got := b.run(t, "leave", b.config.TerminationPath, late, "leave-dead",
			"write", b.config.TerminationPath+".other", "", "exit", "0")
		if got != (outcome{}) {
			t.Errorf("outcome %+v, want none", got)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
		text := b.text(t)
		entries := b.signedEntries(t, 0)
		time.Sleep(50 * time.Millisecond) // a leftover would write once a millisecond
		if diff := cmp.Diff(text, b.text(t)); diff != "" {
			t.Errorf("something still writes to the message (-before +after):\n%s", diff)
		}
		if len(entries) != 1 {
			t.Errorf("%d entries, want the one that was written before the end", len(entries))
		}
		if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("a process of somebody else is gone: %v", err)
		}
	})
}

func TestRunForwardsSignals(t *testing.T) {
	namespaces(t, func(t *testing.T, b *bench) {
		for _, number := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGWINCH, 40} {
			ready := filepath.Join(t.TempDir(), "ready")
			cmd := b.command(t, "await", strconv.Itoa(int(number)), ready, "exit", "6")
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, ready)
			if err := cmd.Process.Signal(number); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // the exit code is checked below
			if got, want := stdout.String(), fmt.Sprintf("got %d\n", int(number)); got != want {
				t.Errorf("signal %d: stdout %q, want %q", number, got, want)
			}
			if got := cmd.ProcessState.ExitCode(); got != 6 {
				t.Errorf("signal %d: exit code %d, want 6", number, got)
			}
		}
	})
}

func waitFor(t *testing.T, file string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !exists(t, file); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not appear", file)
		}
	}
}

// A step that waits for its turn does not handle SIGTERM, so SIGTERM ends Tekton's entrypoint.
func TestRunExitCodeOfASignal(t *testing.T) {
	namespaces(t, func(t *testing.T, b *bench) {
		for number, want := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGHUP: 129, syscall.SIGKILL: 137} {
			if b.newPIDs && number != syscall.SIGKILL {
				want = 2 // as the entrypoint itself would exit as process 1
			}
			if got := b.run(t, "die", strconv.Itoa(int(number))); got.code != want {
				t.Errorf("signal %d: exit code %d, want %d", number, got.code, want)
			}
			b.signedEntries(t, int32(want))
		}
	})
}

func TestRunEndsSoonWhenTerminated(t *testing.T) {
	b := newBench(t)
	asked, release := make(chan struct{}, 8), make(chan struct{})
	b.answerWith(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-release })
	t.Cleanup(func() { close(release) })
	cmd := b.command(t, "write", step.PrivatePostFile(b.config.PostFile), "")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	start := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v, want success", err)
	}
	if took := time.Since(start); took > 1500*time.Millisecond {
		t.Errorf("took %v after SIGTERM", took)
	}
	if !strings.Contains(stderr.String(), "step is not signed (api-unreachable)") {
		t.Errorf("stderr %q, want the reason", stderr.String())
	}
	if !exists(t, b.config.PostFile) {
		t.Error("the post file is not published")
	}
}
