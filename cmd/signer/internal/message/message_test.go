// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

func carriers() []result.RunResult {
	return []result.RunResult{
		{Key: signing.CarrierManifest, Value: "v2:x", ResultType: result.TaskRunResultType},
		{Key: signing.CarrierToken, Value: "a.b.c", ResultType: result.TaskRunResultType},
	}
}

func parseStock(t testing.TB, text []byte) map[string]result.RunResult {
	t.Helper()
	all, err := termination.ParseMessage(zap.NewNop().Sugar(), string(text))
	if err != nil {
		t.Fatalf("Tekton cannot read %q: %v", text, err)
	}
	byKey := map[string]result.RunResult{}
	for _, r := range all {
		byKey[r.Key] = r
	}
	return byKey
}

func reserved(r result.RunResult) bool { return signing.IsReserved(r.Key) }

func TestNotedKeepsTheBytes(t *testing.T) {
	note := signing.UnsignedManifest(signing.UnsignedTokenDenied)
	const appended = `{"key":"RESULT_MANIFEST","value":"none:token-denied","type":1}]`
	for name, c := range map[string]struct{ text, want string }{
		"stock":      {`[{"key":"a","value":"\ufffd<","type":1}]`, `[{"key":"a","value":"\ufffd<","type":1},` + appended},
		"blanks":     {"[ {\"key\":\"a\"} ] \n", `[ {"key":"a"} ,` + appended},
		"zero entry": {`[{},{"key":"a"}]`, `[{},{"key":"a"},` + appended},
		"empty":      {"", "[" + appended},
		"no entries": {"[]", "[" + appended},
		"null":       {"null", "[" + appended},
		"forged":     {`[{"key":"SVID","value":"x"},{"key":"a","value":""}]`, `[{"key":"a","value":""},` + appended},
	} {
		m, err := Parse([]byte(c.text), reserved)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := m.Noted(note, false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, string(got)); diff != "" {
			t.Errorf("%s: text differs (-want +got):\n%s", name, diff)
		}
	}
}

func TestWithKeepsTheMessage(t *testing.T) {
	m, err := Parse([]byte(`[{"key":"a","value":"1","type":1}]`), reserved)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second text must not depend on the first
		text, err := m.With(carriers(), false)
		if err != nil {
			t.Fatal(err)
		}
		const want = `[{"key":"a","value":"1","type":1},{"key":"RESULT_MANIFEST","value":"v2:x","type":1},` +
			`{"key":"SIGNING_TOKEN","value":"a.b.c","type":1}]`
		if diff := cmp.Diff(want, string(text)); diff != "" {
			t.Errorf("text differs (-want +got):\n%s", diff)
		}
	}
}

func TestWriteReplaces(t *testing.T) {
	for name, c := range map[string]struct{ old, new string }{
		"longer":  {"old", "a new text"},
		"shorter": {strings.Repeat("old", 100), "new"},
		"equal":   {"old", "new"},
		"empty":   {"", "new"},
		"huge":    {strings.Repeat("x", 10000), "new"},
	} {
		file := filepath.Join(t.TempDir(), "termination")
		if err := os.WriteFile(file, []byte(c.old), 0o666); err != nil {
			t.Fatal(err)
		}
		before, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(file, []byte(c.new)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.new {
			t.Errorf("%s: got %q, want %q", name, got, c.new)
		}
		after, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(before, after) {
			t.Errorf("%s: the file was replaced, which a mounted one cannot be", name)
		}
	}
}

func TestFileThatIsMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "termination")
	if text, err := Read(file); err != nil || len(text) > 0 {
		t.Errorf("Read = %q, %v, want nothing", text, err)
	}
	if err := Write(file, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if text, err := Read(file); err != nil || string(text) != "new" {
		t.Errorf("Read = %q, %v, want what was written", text, err)
	}
}

func TestFileThatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, link, pipe} {
		if text, err := Read(path); err == nil {
			t.Errorf("Read(%s) = %q, want an error", path, text)
		}
		if err := Write(path, []byte("x")); err == nil {
			t.Errorf("Write(%s) succeeds", path)
		}
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "[]" {
		t.Errorf("the link's target is %q, %v, want it untouched", b, err)
	}
}

// If the signer is killed between Write's two steps, the new text remains, followed by line feeds.
func TestBlankedTextIsReadAlike(t *testing.T) {
	m, err := Parse([]byte(`[{"key":"a","value":"`+strings.Repeat("1", 500)+`","type":1}]`), reserved)
	if err != nil {
		t.Fatal(err)
	}
	for _, compress := range []bool{false, true} {
		text, err := m.With(carriers(), compress)
		if err != nil {
			t.Fatal(err)
		}
		if compress != bytes.HasPrefix(text, []byte(tekton.CompressedPrefix)) {
			t.Fatalf("compress %v: %q", compress, text)
		}
		old := len(text) + 300
		got := blanked(text, int64(old))
		if len(got) != old {
			t.Errorf("compress %v: %d bytes go over %d of the old message", compress, len(got), old)
		}
		if diff := cmp.Diff(parseStock(t, text), parseStock(t, got)); diff != "" {
			t.Errorf("compress %v: message differs (-plain +blanked):\n%s", compress, diff)
		}
	}
}

// FuzzRewrite checks against Tekton's own reader that rewriting a message adds the evidence and changes nothing else.
func FuzzRewrite(f *testing.F) {
	for _, text := range []string{
		"", "[]", "null", "[ ]", "{}", `[{}]`, `[{"key":"a","value":"b","type":1}]`,
		`[{"KEY":"a","Value":"b","type":"TaskRunResult"}]`,
		`[{"key":"a"},{"key":"a","type":3}]`, `[{"key":"SVID","type":4},{"key":"a","value":"\ud800"}]`,
		"[{\"key\":\"\xff\"}]\n",
		"tknz:q1YqSS0uUVKyUkpUqgUA",
	} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, compress bool) {
		all, err := termination.ParseMessage(zap.NewNop().Sugar(), string(text))
		m, parseErr := Parse(text, reserved)
		if (err == nil) != (parseErr == nil) {
			t.Fatalf("Tekton: %v, Parse: %v", err, parseErr)
		}
		if err != nil {
			return
		}
		want := map[string]result.RunResult{}
		for _, r := range all {
			if !signing.IsReserved(r.Key) {
				want[r.Key] = r
			}
		}
		note := signing.UnsignedManifest(signing.UnsignedTooLong)
		noted, err := m.Noted(note, compress)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, noted, want, []result.RunResult{note})
		signed, err := m.With(carriers(), compress)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, signed, want, carriers())
	})
}

func expect(t *testing.T, text []byte, want map[string]result.RunResult, added []result.RunResult) {
	t.Helper()
	got := parseStock(t, text)
	for _, r := range added {
		if got[r.Key] != r {
			t.Errorf("%s is %+v, want %+v", r.Key, got[r.Key], r)
		}
		delete(got, r.Key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results differ (-want +got):\n%s", diff)
	}
}
