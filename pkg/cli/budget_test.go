// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
)

// budgetTask returns a Task with as many steps.
func budgetTask(steps int) string {
	return "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: build}\nspec:\n  results: [{name: a}]\n  steps: [" +
		strings.Repeat("{image: x},", steps) + "]\n"
}

// TestBudgetCodes checks the exit code of each outcome in each format, and the JSON and YAML against the schema.
func TestBudgetCodes(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "docs", "schema",
		"budgetreport.v1alpha1.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := workFolder(t)
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	small, large := file("small.yaml", budgetTask(2)), file("large.yaml", budgetTask(12))
	remote := file("remote.yaml", "apiVersion: tekton.dev/v1\nkind: Pipeline\nmetadata: {name: a}\n"+
		"spec: {tasks: [{name: a, taskRef: {resolver: git}}]}\n")
	run := filepath.Join(dir, "build.yaml")
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"-f", small, "-f", run}, ExitOK},
		{[]string{"-f", large}, ExitOK},
		{[]string{"-f", large, "--strict"}, ExitWarnings},
		{[]string{"-f", large, "--receipts", "never"}, ExitUnsigned},
		{[]string{"-f", large, "--enforcement", "enforce"}, ExitFailed},
		{[]string{"-f", small, "-f", remote}, ExitIndeterminate},
		{[]string{"-f", large, "-f", remote, "--enforcement", "enforce"}, ExitFailed},
		{[]string{"-f", filepath.Join(dir, "missing.yaml"), "-f", small}, ExitError},
		{[]string{"--server", "http://127.0.0.1:1"}, ExitIndeterminate},
	} {
		for _, format := range report.BudgetFormats() {
			out, code := runPlugin(t, append([]string{"budget", "-o", format}, c.args...)...)
			if code != c.code {
				t.Errorf("%s -o %s: exit code %d, want %d", c.args, format, code, c.code)
			}
			if format == "table" {
				continue
			}
			text, err := yaml.YAMLToJSON([]byte(out))
			if err != nil {
				t.Fatal(err)
			}
			object, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
			if err == nil {
				err = schema.Validate(object)
			}
			if err != nil {
				t.Errorf("%s -o %s: %v\n%s", c.args, format, err, out)
			}
		}
	}
}

// TestBudgetStreams checks that items are written one by one, and that a file with many TaskRuns is read to its end.
func TestBudgetStreams(t *testing.T) {
	dir := workFolder(t)
	one, err := os.ReadFile(filepath.Join(dir, "build.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	many := filepath.Join(dir, "many-runs.yaml")
	if err := os.WriteFile(many, []byte(strings.Repeat("---\n"+string(one)+"\n", 200)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := runPlugin(t, "budget", "-f", many)
	if n := strings.Count(out, "taskrun/"); code != ExitOK || n != 200 || !strings.Contains(out, "200 signed") {
		t.Errorf("exit code %d, %d TaskRuns, want 200:\n%s", code, n, out[max(0, len(out)-300):])
	}
}

// TestBudgetCompletion offers the kinds of objects first.
func TestBudgetCompletion(t *testing.T) {
	out, _ := runPlugin(t, "__complete", "budget", "")
	if want := "task/\npipeline/\ntaskrun/\n"; !strings.HasPrefix(out, want) {
		t.Errorf("got %q, want %q", out, want)
	}
	for flag, want := range map[string]string{"compression": "when-needed", "results-from": "sidecar-logs",
		"backend": "spire", "format": "v1", "delivery": "init", "output": "yaml"} {
		out, _ := runPlugin(t, "__complete", "budget", fmt.Sprintf("--%s=", flag))
		if !strings.Contains(out, want) {
			t.Errorf("--%s: got %q, want %s among them", flag, out, want)
		}
	}
}

// TestBudgetInterrupted: after Ctrl-C nothing is simulated any more, and what was left out is no success.
func TestBudgetInterrupted(t *testing.T) {
	path := filepath.Join(workFolder(t), "small.yaml")
	if err := os.WriteFile(path, []byte(budgetTask(2)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	code := Run(ctx, "kubectl-tekton_sign", []string{"budget", "-f", path}, genericiooptions.IOStreams{
		In: strings.NewReader(""), Out: &out, ErrOut: io.Discard,
	})
	if code == ExitOK || strings.Contains(out.String(), "signed\n") {
		t.Errorf("got exit code %d:\n%s", code, out.String())
	}
}
