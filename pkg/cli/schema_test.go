// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// workFolder writes the files of the scripts into a folder.
func workFolder(t *testing.T) string {
	t.Helper()
	cluster, err := verifytest.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	files, err := scriptFiles(cluster)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// runPlugin runs the plugin in this process.
func runPlugin(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Run(t.Context(), "kubectl-tekton_sign", args, genericiooptions.IOStreams{In: strings.NewReader(""),
		Out: &stdout, ErrOut: &stderr})
	return stdout.String(), code
}

// cases are runs with each verdict, errors, and nothing at all, by exit code.
var verifyCases = []struct {
	files []string
	code  int
}{
	{[]string{"build.yaml"}, ExitOK}, {[]string{"list.json"}, ExitOK}, {[]string{"retried.yaml"}, ExitOK},
	{[]string{"export.json"}, ExitOK}, {[]string{"swapped.yaml"}, ExitFailed}, {[]string{"added.yaml"}, ExitFailed},
	{[]string{"unsigned.yaml"}, ExitUnsigned}, {[]string{"empty-run.yaml"}, ExitUnsigned},
	{[]string{"running.yaml"}, ExitIndeterminate},
	{[]string{"missing.yaml"}, ExitError}, {[]string{"broken.jsonl"}, ExitError},
	{[]string{"running.yaml", "unsigned.yaml"}, ExitIndeterminate},
	{[]string{"missing.yaml", "running.yaml", "swapped.yaml"}, ExitFailed}, {[]string{"build.yaml", "empty-run.yaml"},
		ExitOK},
}

// The exit code is that of the verdicts, whatever the format.
func TestExitCodesOfAllFormats(t *testing.T) {
	dir := workFolder(t)
	formats := slices.DeleteFunc(report.Formats(), func(f string) bool { return strings.HasSuffix(f, "=") })
	formats = append(formats, "jsonpath={.kind}", "go-template={{.kind}}", "custom-columns=A:.verdict")
	for _, c := range verifyCases {
		for _, format := range formats {
			args := []string{"verify", "--allow-unrecorded", "--offline", "--trust-bundle", filepath.Join(dir, "bundle.json"),
				"-o", format}
			for _, file := range c.files {
				args = append(args, "-f", filepath.Join(dir, file))
			}
			if _, code := runPlugin(t, args...); code != c.code {
				t.Errorf("%s with -o %s: exit code %d, want %d", c.files, format, code, c.code)
			}
		}
	}
}

// Every report is as docs/schema says.
func TestReportsAreAsTheSchemaSays(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(filepath.Join("..", "..", "docs", "schema", "verificationreport.v1alpha1.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := workFolder(t)
	for _, c := range verifyCases {
		args := []string{"verify", "--allow-unrecorded", "--offline", "--trust-bundle", filepath.Join(dir, "bundle.json"),
			"-o", "json"}
		for _, file := range c.files {
			args = append(args, "-f", filepath.Join(dir, file))
		}
		out, _ := runPlugin(t, args...)
		object, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(object); err != nil {
			t.Errorf("%s: %v", c.files, err)
		}
		object.(map[string]any)["summary"] = 1
		if schema.Validate(object) == nil {
			t.Errorf("%s: the schema takes a report without its summary", c.files)
		}
	}
}

// Reports on PipelineRuns are, too.
func TestPipelineRunReportsAreAsTheSchemaSays(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "docs", "schema",
		"verificationreport.v1alpha1.json"))
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := verifytest.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	server, err := newFakeServer(cluster, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(config, kubeconfig(server.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, code := range map[string]int{"release": ExitOK, "outer": ExitOK, "changed-results": ExitFailed,
		"broken": ExitFailed, "custom": ExitIndeterminate} {
		out, got := runPlugin(t, "verify", "--allow-unrecorded", "pipelinerun/"+name, "-o", "json", "--kubeconfig", config)
		object, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		if err := schema.Validate(object); err != nil || got != code {
			t.Errorf("%s: exit code %d, want %d: %v", name, got, code, err)
		}
		if runs, _ := object.(map[string]any)["pipelineRuns"].([]any); len(runs) == 0 {
			t.Errorf("%s: no PipelineRun in %s", name, out)
		}
	}
}
