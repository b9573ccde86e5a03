// SPDX-License-Identifier: Apache-2.0

package toolchain

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuildFlags(t *testing.T) {
	got := buildFlags(Binary{Stamps: []string{"example.org/version.gitVersion"}}, "v1.35.4")
	want := []string{"-trimpath", "-buildvcs=false", "-ldflags",
		"-s -w -X example.org/version.gitVersion=v1.35.4 -X example.org/version.gitMajor=1" +
			" -X example.org/version.gitMinor=35 -X example.org/version.gitTreeState=clean"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

func TestBuildFlagsWithC(t *testing.T) {
	want := []string{"-trimpath", "-buildvcs=false", "-tags", "netgo,osusergo,sqlite_omit_load_extension", "-ldflags",
		"-s -w -linkmode=external -extldflags=-static"}
	if diff := cmp.Diff(want, buildFlags(SPIREServer(), "v1.15.3")); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

// program makes a module with one command in it, named like a tools folder.
func program(t *testing.T, text string) Builder {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"tools/demo/go.mod": "module example.org/demo\n\ngo 1.26\n",
		"tools/demo/go.sum": "",
		"tools/demo/main.go": "package main\n\nvar gitVersion string\n\nfunc main() { print(\"" + text +
			"\" + gitVersion) }\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Builder{Tools: filepath.Join(root, "tools"), Cache: filepath.Join(root, "cache")}
}

func TestBuildOnceForEachKey(t *testing.T) {
	builder := program(t, "hello")
	builds := 0
	build := func(binary Binary) string {
		t.Helper()
		path, err := builder.Build(context.Background(), binary, func(string) { builds++ })
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	binary := Binary{Name: "demo", Tools: "demo", Module: "example.org/demo", Package: "example.org/demo"}
	first := build(binary)
	if out, err := exec.Command(first).CombinedOutput(); err != nil || string(out) != "hello" {
		t.Errorf("run: expected hello, got %q, %v", out, err)
	}
	if again := build(binary); again != first || builds != 1 {
		t.Errorf("second build: expected %s from the cache, got %s after %d builds", first, again, builds)
	}
	stamped := binary
	stamped.Stamps = []string{"main.gitVersion"}
	if path := build(stamped); path == first || builds != 2 {
		t.Errorf("other flags: expected another build, got %s after %d builds", path, builds)
	}
	sum := filepath.Join(builder.Tools, "demo", "go.sum")
	if err := os.WriteFile(sum, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if path := build(binary); path == first || builds != 3 {
		t.Errorf("other go.sum: expected another build, got %s after %d builds", path, builds)
	}
}

func TestFailedBuildLeavesNoBinary(t *testing.T) {
	builder := program(t, `" + undefined + "`)
	binary := Binary{Name: "demo", Tools: "demo", Module: "example.org/demo", Package: "example.org/demo"}
	for range 2 { // the second must not find a leftover of the first
		_, err := builder.Build(context.Background(), binary, func(string) {})
		if err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
			t.Fatalf("expected the compiler's error, got %v", err)
		}
	}
}
