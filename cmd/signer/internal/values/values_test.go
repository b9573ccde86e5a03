// SPDX-License-Identifier: Apache-2.0

package values

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// pod returns the folders of a step and a function that writes a file into one of them.
func pod(t *testing.T) (step.Values, func(file, content string)) {
	t.Helper()
	dir := t.TempDir()
	v := step.Values{ResultsDir: filepath.Join(dir, "results"), StepDir: filepath.Join(dir, "run", "0", "status")}
	write := func(file, content string) {
		t.Helper()
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return v, write
}

func TestRead(t *testing.T) {
	v, write := pod(t)
	write("results/b", `[ "x", "<y>" ]`)
	write("results/a", "text\xff\xfe\n")
	write("results/undeclared", "1")
	write("run/0/status/results/a", "")
	write("run/0/status/artifacts/provenance.json", `{ "outputs": [ {"name":"image"} ] }`)
	v.Results, v.StepResults, v.Artifacts = []string{"b", "missing", "a"}, []string{"a", "missing"}, true
	got, err := Read(v, "step-build")
	if err != nil {
		t.Fatal(err)
	}
	want := []signing.Entry{
		{Kind: result.TaskRunResultType, Name: "a", Value: "text\ufffd\ufffd\n"},
		{Kind: result.TaskRunResultType, Name: "b", Value: `["x","<y>"]`},
		{Kind: result.StepResultType, Name: "a", Value: ""},
		{Kind: result.StepArtifactsResultType, Name: "step-build", Value: `{"outputs":[{"name":"image"}]}`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}

	v.Artifacts = false
	if got, err = Read(v, "step-build"); err != nil || len(got) != 3 {
		t.Errorf("%d entries and error %v, want 3 without artifacts", len(got), err)
	}
	write("run/0/status/artifacts/provenance.json", `{"outputs":[]}`)
	v.Artifacts = true
	if got, err = Read(v, "step-build"); err != nil || len(got) != 3 {
		t.Errorf("%d entries and error %v, want 3 where the artifacts are empty", len(got), err)
	}
}

func TestReadNothing(t *testing.T) {
	v, _ := pod(t)
	v.Results, v.StepResults, v.Artifacts = []string{"a"}, []string{"a"}, true
	if got, err := Read(v, "step-build"); err != nil || len(got) != 0 {
		t.Errorf("entries %v and error %v, want none: no folder exists", got, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string) error // dir is the folder of the results
		reason  signing.UnsignedReason
		text    string
	}{
		"link": {
			func(_ *testing.T, dir string) error {
				return os.Symlink("other", filepath.Join(dir, "a"))
			}, signing.UnsignedUnreadable, "",
		},
		"dangling link": {
			func(_ *testing.T, dir string) error {
				return os.Symlink("nowhere", filepath.Join(dir, "a"))
			}, signing.UnsignedUnreadable, "",
		},
		"link to a folder": {func(t *testing.T, dir string) error {
			if err := os.Remove(filepath.Join(dir, "other")); err != nil {
				return err
			}
			if err := os.Remove(dir); err != nil {
				return err
			}
			outside := t.TempDir()
			if err := os.WriteFile(filepath.Join(outside, "a"), []byte("secret"), 0o644); err != nil {
				return err
			}
			return os.Symlink(outside, dir)
		}, signing.UnsignedUnreadable, ""},
		"folder": {func(_ *testing.T, dir string) error { return os.Mkdir(filepath.Join(dir, "a"), 0o755) },
			signing.UnsignedUnreadable, "expected a regular file"},
		"pipe": {func(_ *testing.T, dir string) error { return syscall.Mkfifo(filepath.Join(dir, "a"), 0o666) },
			signing.UnsignedUnreadable, "expected a regular file"},
		"file for a folder": {func(_ *testing.T, dir string) error {
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o644))
		}, signing.UnsignedUnreadable, "not a directory"},
		"large": {func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "a"), make([]byte, maxFile+1), 0o644)
		}, signing.UnsignedTooLong, "at most 2097152 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			v, write := pod(t)
			write("results/other", "x")
			if err := c.prepare(t, v.ResultsDir); err != nil {
				t.Fatal(err)
			}
			v.Results = []string{"a"}
			got, err := Read(v, "step-build")
			var unsigned *signing.UnsignedError
			if !errors.As(err, &unsigned) || unsigned.Reason != c.reason || !strings.Contains(err.Error(), c.text) {
				t.Errorf("entries %v and error %v, want the reason %s and %q", got, err, c.reason, c.text)
			}
		})
	}
}

func TestReadCapsAll(t *testing.T) {
	v, write := pod(t)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		write("results/"+name, strings.Repeat("x", maxFile))
		v.Results = append(v.Results, name)
	}
	if got, err := Read(v, "step-build"); err != nil || len(got) != 8 {
		t.Fatalf("%d entries and error %v, want 8", len(got), err)
	}
	write("results/i", "x")
	v.Results = append(v.Results, "i")
	var unsigned *signing.UnsignedError
	if _, err := Read(v, "step-build"); !errors.As(err, &unsigned) || unsigned.Reason != signing.UnsignedTooLong {
		t.Errorf("error %v, want one that it is too long", err)
	}
}
