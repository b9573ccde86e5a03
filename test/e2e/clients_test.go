// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
)

// client is a program through which people run the plugin.
type client struct {
	program string
	plugin  string // its first argument
	name    string // what help calls the plugin
}

// TestClients runs the plugin through the real kubectl and the real tkn.
func TestClients(t *testing.T) {
	c := open(t)
	l, err := testlab.Open(testlab.Options{Progress: t.Output()})
	must(t, err)
	tkn, err := l.Program(t.Context(), testlab.Tkn)
	must(t, err)
	c.path = filepath.Dir(tkn) + ":" + c.path
	tampered := filepath.Join(t.TempDir(), "tampered.yaml")
	recorded := recordedTaskRun(t)
	writeFile(t, tampered, strings.Replace(recorded, "value: sha256:2c26", "value: sha256:2c27", 1))

	for _, client := range []client{
		{"kubectl", "tekton-sign", "kubectl tekton-sign"}, {"tkn", "sign", "tkn sign"},
	} {
		t.Run(client.program, func(t *testing.T) {
			start := func(code int, args ...string) output {
				t.Helper()
				out := run(t.Context(), t, "", c.environment(), client.program, append([]string{client.plugin}, args...)...)
				if out.code != code {
					t.Errorf("%s %s: want exit code %d, got %s", client.name, strings.Join(args, " "), code, out)
				}
				return out
			}
			trust := []string{"--trust-bundle", "../../docs/examples/trust-bundle.json"}
			help := start(0, "verify", "--help").stdout
			if !strings.Contains(help, "\n  "+client.name+" verify taskrun/build") {
				t.Errorf("help: want examples of %s, got:\n%s", client.name, help)
			}
			for _, format := range []string{"table", "json", "yaml", "junit", "markdown"} {
				if !strings.Contains(help, format) {
					continue
				}
				start(0, append(trust, "verify", "-o", format, "-f", "../../docs/examples/build.yaml")...)
				start(4, append(trust, "verify", "-o", format, "-f", tampered)...)
			}
			start(1, "verify", "--no-such-flag")
			start(1, "verfiy")
			if got := start(0, "trust", "show", "../../docs/examples/trust-bundle.json").stdout; got == "" {
				t.Errorf("trust show through %s: want the keys, got nothing", client.program)
			}
		})
	}
	t.Run("tkn lists the plugin", func(t *testing.T) {
		out := run(t.Context(), t, "", c.environment(), "tkn", "--help")
		if _, plugins, ok := strings.Cut(out.stdout, "Available Plugins:"); !ok || !strings.Contains(plugins, "sign") {
			t.Errorf("tkn --help: want the plugin sign, got %s", out)
		}
	})
	t.Run("kubectl completes", func(t *testing.T) { testCompletion(t, c) })
}

// testCompletion has kubectl complete the plugin's commands, and the names of TaskRuns.
func testCompletion(t *testing.T, c *cluster) {
	ns := c.namespace(t, false)
	tr := c.start(t, ns, fixture(t, "results"))
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "kubectl_complete-tekton_sign"), c.mustKubectl(t, "tekton-sign", "completion", "kubectl"))
	must(t, os.Chmod(filepath.Join(dir, "kubectl_complete-tekton_sign"), 0o755))
	withProgram := *c
	withProgram.path = dir + ":" + c.path
	complete := func(args ...string) []string {
		t.Helper()
		out := withProgram.mustKubectl(t, append([]string{"__complete", "tekton-sign"}, args...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		for i := range lines {
			lines[i], _, _ = strings.Cut(lines[i], "\t")
		}
		return lines[:len(lines)-1] // the last one is a directive
	}
	if diff := cmp.Diff([]string{"verify", "version"}, complete("ve")); diff != "" {
		t.Errorf("kubectl tekton-sign ve (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"taskrun/" + tr.Name}, complete("verify", "-n", ns, "taskrun/")); diff != "" {
		t.Errorf("kubectl tekton-sign verify taskrun/ (-want +got):\n%s", diff)
	}
}

// recordedTaskRun returns the one of the examples.
func recordedTaskRun(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/examples/build.yaml")
	must(t, err)
	return string(data)
}
