// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

var update = flag.Bool("update", false, "write the golden files")

// compareGolden compares got with a file of testdata.
func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); run with -update if that is meant:\n%s", path, diff)
	}
}

func verified() verify.Result {
	return verify.Result{
		TaskRun: verify.Ref{Namespace: "ci", Name: "build", UID: "6340374f-3a88-4ff2-812e-c155a2d8e142"},
		Verdict: verify.Verified, Backend: signing.BackendOIDCSAToken, Assurance: signing.AssurancePayloadBound,
		Identity: &verify.Identity{
			Subject: "system:serviceaccount:ci:builder", Issuer: "https://kubernetes.default.svc",
			PodUID: "3db15e48-971f-4815-84b3-272e52f61a10", KeyIDs: []string{"kid-1"},
		},
		Time:    &verify.SigningTime{Source: "token", At: time.Date(2026, 11, 23, 12, 0, 30, 0, time.UTC), Trusted: true},
		Cluster: &verify.ClusterRef{Name: "prod", UID: "0b0e2c1a-77b4-4f4b-8f43-3a0c5d0f3c55"},
		Checks: []verify.Check{
			{ID: verify.CheckCoverage, Status: verify.Pass, Message: "2 of 2 steps left evidence"},
			{ID: verify.CheckPayload, Status: verify.Pass, Message: "what is signed is what the TaskRun shows, 2 steps"},
			{ID: verify.CheckDeclaration, Status: verify.Note, Result: "TAGS", Message: "type not proven"},
		},
		Results: []verify.ResultDigest{{Name: "IMAGE_DIGEST", Type: "string", SHA256: strings.Repeat("ab", 32), Verified: true}},
		Caveats: []string{"the declaration of results in status.taskSpec is not proven"},
	}
}

func failed() verify.Result {
	return verify.Result{
		TaskRun: verify.Ref{Namespace: "ci", Name: "deploy", UID: "7340374f-3a88-4ff2-812e-c155a2d8e142"},
		Verdict: verify.Failed, Reason: "results", Message: "status.results shows another value than the step emitted",
		Backend: signing.BackendOIDCSAToken,
		Checks: []verify.Check{
			{ID: verify.CheckCoverage, Status: verify.Pass, Message: "1 of 1 step left evidence"},
			{ID: verify.CheckResults, Status: verify.Fail, Result: "IMAGE_DIGEST", Expected: `string "sha256:2c26"`, Got: `string "sha256:2c27"`, Message: "status.results shows another value than the step emitted"},
			{ID: verify.CheckResults, Status: verify.Fail, Result: "appr\u200boved\u202e", Expected: "nothing", Got: "string \"\x1b[2K\r✓ VERIFIED\n" + strings.Repeat("x", 300) + "\"", Message: "status.results shows it, no step emitted it"},
			{ID: verify.CheckKey, Status: verify.Unknown, Step: "step-a", Expected: "key kid-2", Got: "no such key", Message: "the trust bundle lacks the key"},
			{ID: verify.CheckTime, Status: verify.Warn, Step: "step-a", Message: "the token was issued outside of the run"},
		},
	}
}

func unsigned() verify.Result {
	return verify.Result{
		TaskRun: verify.Ref{Namespace: "ci", Name: "test"}, Verdict: verify.Unsigned, Reason: "token-denied",
		Checks: []verify.Check{
			{ID: verify.CheckCoverage, Status: verify.Missing, Step: "step-a", Expected: "evidence of the step", Got: "none:token-denied", Message: "the step's pod says that it could not sign"},
		},
	}
}

func newReport(items ...verify.Result) *Report {
	trust := &Trust{
		Source: SourceFile, Path: "bundle.json", SHA256: strings.Repeat("cd", 32),
		Cluster: verify.ClusterRef{Name: "prod", UID: "0b0e2c1a-77b4-4f4b-8f43-3a0c5d0f3c55"},
	}
	var problems []Problem
	if len(items) > 1 {
		problems = []Problem{{Source: "x.yaml, item 2", Message: "expected kind TaskRun, got kind Secret"}}
	}
	r := New(trust, items, problems)
	r.Tool = version.Info{Version: "v1.2.3"} // the build's own would change the golden files
	return r
}

func TestGolden(t *testing.T) {
	table := func(options TableOptions) func(*Report, *bytes.Buffer) error {
		return func(r *Report, b *bytes.Buffer) error { return r.Table(b, options) }
	}
	plain, verbose := table(TableOptions{}), table(TableOptions{Verbose: true})
	for name, c := range map[string]struct {
		report *Report
		write  func(*Report, *bytes.Buffer) error
	}{
		"verified.txt":         {newReport(verified()), plain},
		"verified-verbose.txt": {newReport(verified()), verbose},
		"failed.txt":           {newReport(failed()), plain},
		"failed-colour.txt":    {newReport(failed()), table(TableOptions{Style: NewStyle(true)})},
		"unsigned.txt":         {newReport(unsigned()), plain},
		"several.txt":          {newReport(verified(), verified(), failed(), unsigned()), plain},
		"failed.json":          {newReport(failed()), func(r *Report, b *bytes.Buffer) error { return r.JSON(b) }},
		"verified.json":        {newReport(verified()), func(r *Report, b *bytes.Buffer) error { return r.JSON(b) }},
		"several.yaml":         {newReport(verified(), unsigned()), func(r *Report, b *bytes.Buffer) error { return r.YAML(b) }},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := c.write(c.report, &b); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, name, b.Bytes())
		})
	}
}

func TestMachineFormatsAgree(t *testing.T) {
	r := newReport(verified(), failed(), unsigned())
	var asJSON, asYAML bytes.Buffer
	if err := r.JSON(&asJSON); err != nil {
		t.Fatal(err)
	}
	if err := r.YAML(&asYAML); err != nil {
		t.Fatal(err)
	}
	var fromJSON, fromYAML any
	if err := json.Unmarshal(asJSON.Bytes(), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(asYAML.Bytes(), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromJSON, fromYAML); diff != "" {
		t.Errorf("JSON and YAML differ (-JSON +YAML):\n%s", diff)
	}
}

// An empty report still has its list of items: scripts iterate over it.
func TestEmptyReport(t *testing.T) {
	var b bytes.Buffer
	if err := New(nil, nil, []Problem{{Message: "out of reach"}}).JSON(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"items": []`, `"message": "out of reach"`, `"errors": 1`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %s in:\n%s", want, b.String())
		}
	}
}

// The last line is the tool's own, whatever a TaskRun holds: nothing in it can forge a verdict.
func TestNothingForgesAVerdict(t *testing.T) {
	evil := "x\n✓ VERIFIED ci/build\r\x1b[1A\u2028\u202e"
	r := verify.Result{
		TaskRun: verify.Ref{Namespace: evil, Name: evil, UID: "u\n"}, Verdict: verify.Failed, Reason: evil, Message: evil,
		Backend: signing.Backend(evil), Caveats: []string{evil},
		Identity: &verify.Identity{Subject: evil}, Assurance: signing.Assurance(evil),
		Checks: []verify.Check{
			{ID: verify.CheckID(evil), Status: verify.Status(evil), Step: evil, Result: evil, Expected: evil, Got: evil, Message: evil},
		},
		Results: []verify.ResultDigest{{Name: evil, Type: evil, SHA256: evil}},
	}
	trusted := &Trust{Source: SourceFile, Path: evil, Cluster: verify.ClusterRef{Name: evil}}
	var b bytes.Buffer
	if err := New(trusted, []verify.Result{r}, nil).Table(&b, TableOptions{Verbose: true}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if !strings.HasPrefix(lines[len(lines)-1], "✗ FAILED ") {
		t.Errorf("the last line is %q", lines[len(lines)-1])
	}
	if i := regexp.MustCompile(`(?m)^\s*✓|[^\n\x20-\x7e✓✗!?-]`).FindStringIndex(b.String()); i != nil {
		t.Errorf("text of the TaskRun passes at %d: %q", i[0], b.String())
	}
}
