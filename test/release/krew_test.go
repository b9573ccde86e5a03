// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package release

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab"
)

// krew is a person's own krew, and a repository that is its index.
type krew struct {
	env   []string
	index string
}

// testKrew checks the manifest with krew's own checker, which installs the plugin for every platform. It then
// installs, runs, upgrades and removes the plugin out of an index.
func testKrew(t *testing.T, r release) {
	server := httptest.NewServer(http.FileServer(http.Dir(r.dist())))
	t.Cleanup(server.Close)
	manifest := strings.ReplaceAll(read(t, r.dist("krew", "tekton-sign.yaml")),
		"https://github.com/tekton-sign/kubectl-tekton-sign/releases/download/"+tag, server.URL)
	k, checker := newKrew(t)
	file := filepath.Join(t.TempDir(), "tekton-sign.yaml")
	write(t, file, manifest)
	executeWith(t, "", k.env, checker, "-manifest", file)

	k.publish(t, manifest)
	k.run(t, "index", "add", "tekton-sign", k.index)
	k.run(t, "install", "tekton-sign/tekton-sign")
	if got := executeWith(t, "", k.env, "kubectl", "tekton-sign", "version"); !strings.HasPrefix(got, tag) {
		t.Errorf("kubectl tekton-sign version: want %s, got %q", tag, got)
	}
	if got := k.run(t, "list"); !strings.Contains(got, "tekton-sign/tekton-sign") {
		t.Errorf("krew list: want the plugin, got %q", got)
	}
	k.publish(t, strings.Replace(manifest, "version: "+tag, "version: v0.2.0", 1))
	k.run(t, "update")
	if got := k.run(t, "upgrade", "tekton-sign"); !strings.Contains(got, "Upgraded plugin: tekton-sign") {
		t.Errorf("krew upgrade: want it upgraded, got %q", got)
	}
	k.run(t, "uninstall", "tekton-sign")
	if got := k.run(t, "list"); strings.Contains(got, "tekton-sign") {
		t.Errorf("krew list: want no plugin, got %q", got)
	}
}

// newKrew makes a folder with kubectl and krew.
func newKrew(t *testing.T) (k krew, checker string) {
	t.Helper()
	l, err := lab.Open(lab.Options{Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	program := func(name string) string {
		path, err := l.Program(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	bin, root := t.TempDir(), t.TempDir()
	for link, target := range map[string]string{"kubectl": program(lab.Kubectl), "kubectl-krew": program(lab.Krew)} {
		if err := os.Symlink(target, filepath.Join(bin, link)); err != nil {
			t.Fatal(err)
		}
	}
	k.env = []string{
		"PATH=" + filepath.Join(root, "bin") + ":" + bin + ":" + os.Getenv("PATH"), "KREW_ROOT=" + root,
		"KREW_NO_UPGRADE_CHECK=1",
	}
	k.index = filepath.Join(t.TempDir(), "index")
	execute(t, "", "git", "init", "--quiet", k.index)
	write(t, filepath.Join(k.index, "README.md"), "An index.\n")
	if err := os.Mkdir(filepath.Join(k.index, "plugins"), 0o750); err != nil {
		t.Fatal(err)
	}
	return k, program(lab.ValidateKrewManifest)
}

// publish commits a manifest to the index.
func (k krew) publish(t *testing.T, manifest string) {
	t.Helper()
	write(t, filepath.Join(k.index, "plugins", "tekton-sign.yaml"), manifest)
	execute(t, k.index, "git", "add", "--all")
	execute(t, k.index, "git", "-c", "user.name=release", "-c", "user.email=release@localhost", "commit", "--quiet",
		"--message", "Release")
}

func (k krew) run(t *testing.T, args ...string) string {
	t.Helper()
	return executeWith(t, "", k.env, "kubectl", append([]string{"krew"}, args...)...)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
