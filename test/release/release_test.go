// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

// Package release builds a release from a clone of this repository, and installs it as people do.
package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const tag = "v0.1.0"

// release is a folder with a checkout in which a release was built.
type release string

func (r release) dist(elements ...string) string {
	return filepath.Join(append([]string{string(r), "dist"}, elements...)...)
}

// build clones the repository and builds a release of its last commit.
func build(t *testing.T) release {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "clone")
	execute(t, "../..", "git", "clone", "--quiet", ".", folder)
	execute(t, folder, "git", "tag", tag)
	execute(t, folder, "make", "release-snapshot")
	return release(folder)
}

// execute runs a program and returns what it printed.
func execute(t *testing.T, folder, program string, args ...string) string {
	t.Helper()
	return executeWith(t, folder, nil, program, args...)
}

func executeWith(t *testing.T, folder string, env []string, program string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir, command.Env = folder, append(os.Environ(), env...)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestNightlyRelease(t *testing.T) {
	r := build(t)
	t.Run("archives", func(t *testing.T) { testArchives(t, r) })
	t.Run("krew", func(t *testing.T) { testKrew(t, r) })
	t.Run("built twice", func(t *testing.T) { testReproducible(t, r, build(t)) })
}

// testArchives wants an archive and a bill of materials for each platform, and runs the plugin out of one.
func testArchives(t *testing.T, r release) {
	sums := read(t, r.dist("checksums.txt"))
	for _, platform := range []string{"linux", "darwin", "windows"} {
		for _, arch := range []string{"amd64", "arm64"} {
			archive := "kubectl-tekton_sign_" + platform + "_" + arch
			extension := ".tar.gz"
			if platform == "windows" {
				extension = ".zip"
			}
			for _, file := range []string{archive + extension, archive + ".cdx.json"} {
				if !strings.Contains(sums, "  "+file+"\n") {
					t.Errorf("checksums.txt: want %s, got\n%s", file, sums)
				}
			}
		}
	}
	execute(t, r.dist(), "sha256sum", "--check", "--strict", "checksums.txt")
	folder := t.TempDir()
	execute(t, folder, "tar", "-xzf", r.dist("kubectl-tekton_sign_linux_amd64.tar.gz"))
	for _, file := range []string{
		"LICENSE", "man/kubectl-tekton-sign-verify.1", "completions/kubectl-tekton_sign.bash",
		"completions/kubectl_complete-tekton_sign",
	} {
		if read(t, filepath.Join(folder, file)) == "" {
			t.Errorf("%s is empty", file)
		}
	}
	if got := execute(t, folder, "./kubectl-tekton_sign", "version"); !strings.HasPrefix(got, tag+", revision ") {
		t.Errorf("version: want %s and a revision, got %q", tag, got)
	}
}

// testReproducible wants the same archives and the same images from two builds of the same commit.
func testReproducible(t *testing.T, a, b release) {
	archives := func(r release) (lines []string) {
		for line := range strings.Lines(read(t, r.dist("checksums.txt"))) {
			if !strings.Contains(line, ".cdx.json") { // has the time at which it was made
				lines = append(lines, line)
			}
		}
		slices.Sort(lines)
		return lines
	}
	if diff := cmp.Diff(archives(a), archives(b)); diff != "" {
		t.Errorf("archives differ:\n%s", diff)
	}
	for _, image := range []string{"signer", "controller"} {
		index := filepath.Join("images", image, "index.json")
		if diff := cmp.Diff(read(t, a.dist(index)), read(t, b.dist(index))); diff != "" {
			t.Errorf("images %s differ:\n%s", image, diff)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
