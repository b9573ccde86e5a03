// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

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
		reason  signing.UnsignedReason // empty if the message does not change
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
			got := b.run(t, "write", b.config.TerminationPath, text, "write", step.PrivatePostFile(b.config.PostFile), "",
				"exit", "5")
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
	forged := `[{"key":"RESULT_MANIFEST","value":"v2:forged","type":1},{"key":"SVID","value":"x","type":4},` +
		stockMessage[1:]
	t.Run("signed", func(t *testing.T) {
		b := newBench(t)
		got := b.run(t, "write", b.config.TerminationPath, forged)
		const want = "tekton-sign: the step itself emitted RESULT_MANIFEST, which is reserved for evidence, and it is " +
			"removed; rename the result\n" +
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
			t.Errorf("compress %v: %d bytes, want at most %d that begin with %q: %s", c.compress, len(got), c.longest,
				c.prefix, got)
		}
		if got := len(b.signedEntries(t, 0)); got != 30 {
			t.Errorf("compress %v: %d signed entries, want 30", c.compress, got)
		}
	}
}
