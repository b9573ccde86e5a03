// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// stockMessage is what the entrypoint leaves for a step with one result.
const stockMessage = `[{"key":"digest","value":"sha256:aaa","type":1},` +
	`{"key":"StartedAt","value":"2026-11-22T10:00:00.000Z","type":3}]`

// digestEntry is what a unit vouches for in stockMessage.
func digestEntry() []signing.Entry {
	return []signing.Entry{{Kind: result.TaskRunResultType, Name: "digest", Value: "sha256:aaa"}}
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestRunSigns(t *testing.T) {
	for name, c := range map[string]struct {
		message    string
		operations []string
		code       int
		recorded   int32 // the exit code that the unit names
		flags      signing.Flags
		entries    []signing.Entry
	}{
		"a step with results":  {stockMessage, nil, 0, 0, signing.FlagLast, digestEntry()},
		"a silent step":        {"", nil, 0, 0, signing.FlagLast, []signing.Entry{}},
		"a failed step":        {stockMessage, []string{"exit", "3"}, 3, 3, signing.FlagLast | signing.FlagStepFails, digestEntry()},
		"a killed entrypoint":  {"", []string{"die", "9"}, 137, 137, signing.FlagLast | signing.FlagStepFails, []signing.Entry{}},
		"onError continue":     {`[{"key":"ExitCode","value":"3","type":3}]`, nil, 0, 3, signing.FlagLast, []signing.Entry{}},
		"doubled keys":         {`[{"key":"digest","value":"old","type":1},` + stockMessage[1:], nil, 0, 0, signing.FlagLast, digestEntry()},
		"no array":             {"null", nil, 0, 0, signing.FlagLast, []signing.Entry{}},
		"compressed by itself": {deflated(t, stockMessage), nil, 0, 0, signing.FlagLast, digestEntry()},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			got := b.run(t, append([]string{"write", b.config.TerminationPath, c.message}, c.operations...)...)
			if want := (outcome{code: c.code}); got != want {
				t.Errorf("outcome %+v, want %+v", got, want)
			}
			if diff := cmp.Diff(c.entries, b.signedEntries(t, c.recorded)); diff != "" {
				t.Errorf("entries differ (-want +got):\n%s", diff)
			}
			header, err := signing.ParseManifest(parse(t, b.text(t))[signing.CarrierManifest].Value)
			if err != nil {
				t.Fatal(err)
			}
			if header.Flags != c.flags {
				t.Errorf("flags %b, want %b", header.Flags, c.flags)
			}
		})
	}
}

// deflated returns text as Tekton itself compresses it.
func deflated(t *testing.T, text string) string {
	t.Helper()
	results, err := termination.ParseMessage(zap.NewNop().Sugar(), text)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "message")
	if err := termination.WriteCompressedMessage(file, results); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRunKeepsInternalEntries(t *testing.T) {
	b := newBench(t)
	b.run(t, "write", b.config.TerminationPath, stockMessage)
	want := result.RunResult{Key: "StartedAt", Value: "2026-11-22T10:00:00.000Z", ResultType: result.InternalTektonResultType}
	if diff := cmp.Diff(want, parse(t, b.text(t))["StartedAt"]); diff != "" {
		t.Errorf("entry differs (-want +got):\n%s", diff)
	}
}

func TestRunPassesStreamsEnvironmentAndFolder(t *testing.T) {
	b := newBench(t)
	b.environment = append(b.environment, "STEP=is free")
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	got := b.run(t, "echo", "eprint", "to stderr", "print", "; ", "env", "STEP", "print", "; ", "cwd")
	want := outcome{stdout: "from stdin; is free; " + dir, stderr: "to stderr"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
		t.Errorf("outcome differs (-want +got):\n%s", diff)
	}
}

func TestRunCannotStart(t *testing.T) {
	b := newBench(t)
	for _, entrypoint := range []string{"/does/not/exist", b.config.TerminationPath} {
		b.entrypoint = entrypoint
		got := b.run(t)
		if got.code != 127 || !strings.HasPrefix(got.stderr, "tekton-sign: starting "+entrypoint) {
			t.Errorf("outcome %+v, want code 127 and the reason", got)
		}
		if strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("stderr %q, want one line", got.stderr)
		}
	}
}

func TestRunPublishesAfterSigning(t *testing.T) {
	for _, suffix := range []string{"", ".err"} {
		b := newBench(t)
		private := step.PrivatePostFile(b.config.PostFile) + suffix
		b.answerWith(func(w http.ResponseWriter, r *http.Request) {
			if exists(t, b.config.PostFile+suffix) || !exists(t, private) {
				t.Errorf("%q: the post file is published before the evidence stands", suffix)
			}
			grant(w, r)
		})
		b.run(t, "write", private, "")
		if !exists(t, b.config.PostFile+suffix) || exists(t, private) {
			t.Errorf("%q: the post file is not published", suffix)
		}
		b.signedEntries(t, 0)
	}
}

func TestRunPublishesWhatTheEntrypointDid(t *testing.T) {
	b := newBench(t)
	b.run(t, "die", "9")
	if exists(t, b.config.PostFile) || exists(t, b.config.PostFile+".err") {
		t.Error("a post file is published that the entrypoint has not written")
	}

	b.config.PostFile = ""
	private := filepath.Join(t.TempDir(), "out.unsigned")
	b.run(t, "write", private, "")
	if !exists(t, private) {
		t.Error("a post file is published although the entrypoint does that itself")
	}
}

func TestRunUnsigned(t *testing.T) {
	refuse := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"message":"because"}`, status) }
	}
	for name, c := range map[string]struct {
		prepare func(b *bench)
		reason  signing.UnsignedReason // empty: the message stays as it is
		line    string
	}{
		"denied": {func(b *bench) { b.answerWith(refuse(403)) }, signing.UnsignedTokenDenied,
			"step is not signed (token-denied): the API server answered 403: because; run kubectl tekton-sign enable"},
		"unreachable": {func(b *bench) { b.answerWith(refuse(302)) }, signing.UnsignedAPIUnreachable,
			"step is not signed (api-unreachable): expected the API server to answer 201, got 302; "},
		"no credential": {func(b *bench) { b.credentials = "/does/not/exist" }, signing.UnsignedNoCredential,
			"step is not signed (no-credential): the pod has no service account token: "},
		"defect": {func(b *bench) { b.credentials = "panic" }, "",
			"step is not signed: internal error: a defect; please report it"},
		"too long": {func(b *bench) { b.config.Share = 250 }, signing.UnsignedTooLong, "step is not signed (too-long): " +
			"the termination message needs 404 bytes, the container's share is 250; emit fewer"},
		"too long for a word": {func(b *bench) { b.config.Share = 120 }, "", "step is not signed (too-long): " +
			"the termination message needs 404 bytes, the container's share is 120; emit fewer"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c.prepare(b)
			got := b.run(t, "write", b.config.TerminationPath, stockMessage,
				"write", step.PrivatePostFile(b.config.PostFile), "", "exit", "4")
			if got.code != 4 || got.stdout != "" {
				t.Errorf("outcome %+v, want the step's own code 4 and no output", got)
			}
			if !strings.HasPrefix(got.stderr, "tekton-sign: "+c.line) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("stderr %q, want one line that begins with %q", got.stderr, c.line)
			}
			if !exists(t, b.config.PostFile) {
				t.Error("the post file is not published")
			}
			want := stockMessage
			if c.reason != "" {
				want = strings.TrimSuffix(stockMessage, "]") +
					`,{"key":"RESULT_MANIFEST","value":"none:` + string(c.reason) + `","type":1}]`
			}
			if diff := cmp.Diff(want, b.text(t)); diff != "" {
				t.Errorf("message differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunLeavesGarbage(t *testing.T) {
	for name, text := range map[string]string{
		"text":         "I am done\n",
		"cut":          stockMessage[:40],
		"other JSON":   `{"key":"digest"}`,
		"two values":   stockMessage + "[]",
		"bad type":     `[{"key":"a","value":"b","type":[]}]`,
		"no base64":    "tknz:!",
		"too large":    `[{"key":"a","value":"` + strings.Repeat("x", 4096) + `","type":1}]`,
		"only a blank": " ",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			got := b.run(t, "write", b.config.TerminationPath, text, "write", step.PrivatePostFile(b.config.PostFile), "", "exit", "5")
			if got.code != 5 || !strings.HasPrefix(got.stderr, "tekton-sign: step is not signed: expected ") ||
				strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("outcome %+v, want code 5 and one line with the reason", got)
			}
			if diff := cmp.Diff(text, b.text(t)); diff != "" {
				t.Errorf("message differs (-want +got):\n%s", diff)
			}
			if !exists(t, b.config.PostFile) {
				t.Error("the post file is not published")
			}
		})
	}
}

func TestRunRemovesForgedEvidence(t *testing.T) {
	forged := `[{"key":"RESULT_MANIFEST","value":"v2:forged","type":1},{"key":"SVID","value":"x","type":4},` + stockMessage[1:]
	t.Run("signed", func(t *testing.T) {
		b := newBench(t)
		got := b.run(t, "write", b.config.TerminationPath, forged)
		const want = "tekton-sign: the step itself emitted RESULT_MANIFEST, which is reserved for evidence, and it is removed; " +
			"rename the result\n" +
			"tekton-sign: the step itself emitted SVID, which is reserved for evidence, and it is removed; rename the result\n"
		if diff := cmp.Diff(outcome{stderr: want}, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Errorf("outcome differs (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(digestEntry(), b.signedEntries(t, 0)); diff != "" {
			t.Errorf("entries differ (-want +got):\n%s", diff)
		}
		if _, ok := parse(t, b.text(t))["SVID"]; ok {
			t.Errorf("the forged entry stays: %s", b.text(t))
		}
	})
	for name, share := range map[string]int{"unsigned": 250, "unsigned without room for a reason": 120} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.config.Share = share
			b.run(t, "write", b.config.TerminationPath, forged)
			all := parse(t, b.text(t))
			delete(all, "digest")
			delete(all, "StartedAt")
			want := map[string]result.RunResult{}
			if share == 250 {
				want["RESULT_MANIFEST"] = signing.UnsignedManifest(signing.UnsignedTooLong)
			}
			if diff := cmp.Diff(want, all); diff != "" {
				t.Errorf("entries besides the results differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunCompresses(t *testing.T) {
	var entries []string
	for i := range 30 {
		entries = append(entries, fmt.Sprintf(`{"key":"result-%d","value":"registry.example/team/app","type":1}`, i))
	}
	text := "[" + strings.Join(entries, ",") + "]"
	for _, c := range []struct {
		compress bool
		message  string
		prefix   string
		longest  int
	}{{false, text, "[", 4096}, {true, text, "tknz:", 1000}, {true, deflated(t, text), "tknz:", 1000}} {
		b := newBench(t)
		b.config.Compress = c.compress
		b.config.Share = c.longest
		if got := b.run(t, "write", b.config.TerminationPath, c.message); got != (outcome{}) {
			t.Errorf("compress %v: outcome %+v, want none", c.compress, got)
		}
		if got := b.text(t); !strings.HasPrefix(got, c.prefix) || len(got) > c.longest {
			t.Errorf("compress %v: %d bytes, want at most %d that begin with %q: %s", c.compress, len(got), c.longest, c.prefix, got)
		}
		if got := len(b.signedEntries(t, 0)); got != 30 {
			t.Errorf("compress %v: %d signed entries, want 30", c.compress, got)
		}
	}
}

// namespaces are the two ways in which a step's processes may be kept together.
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
			_ = cmd.Wait() // the code is looked at below
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

// A step that waits for its turn does not handle SIGTERM, which ends Tekton's entrypoint.
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
