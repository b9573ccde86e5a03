// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
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
		Results: []verify.ResultDigest{{Name: "IMAGE_DIGEST", Type: "string", SHA256: strings.Repeat("ab", 32),
			Verified: true}},
		Caveats: []string{"the declaration of results in status.taskSpec is not proven"},
	}
}

// recorded is a TaskRun with a record of the add-on.
func recorded() verify.Result {
	r := verified()
	at := time.Date(2026, 11, 23, 12, 1, 5, 0, time.UTC)
	r.Time = &verify.SigningTime{Source: verify.TimeFromRecord, At: at, Trusted: true}
	r.Record = &verify.Recorded{
		Recorder: "system:serviceaccount:tekton-sign:controller", RecordedAt: at, KeyID: "kid-2", VerifiedAt: at,
		Verdict: verify.Verified, Backend: r.Backend, Assurance: r.Assurance, KeyIDs: []string{"kid-1", "kid\x1b[2K"},
		AddOnVersion: "v1.2.3",
	}
	return r
}

func failed() verify.Result {
	return verify.Result{
		TaskRun: verify.Ref{Namespace: "ci", Name: "deploy", UID: "7340374f-3a88-4ff2-812e-c155a2d8e142"},
		Verdict: verify.Failed, Reason: "results", Message: "status.results shows another value than the step emitted",
		Backend: signing.BackendOIDCSAToken,
		Checks: []verify.Check{
			{ID: verify.CheckCoverage, Status: verify.Pass, Message: "1 of 1 step left evidence"},
			{
				ID: verify.CheckResults, Status: verify.Fail, Result: "IMAGE_DIGEST", Expected: `string "sha256:2c26"`,
				Got: `string "sha256:2c27"`, Message: "status.results shows another value than the step emitted",
			},
			{
				ID: verify.CheckResults, Status: verify.Fail, Result: "appr\u200boved\u202e", Expected: "nothing",
				Got:     "string \"\x1b[2K\r✓ VERIFIED\n" + strings.Repeat("x", 300) + "\"",
				Message: "status.results shows it, no step emitted it",
			},
			{
				ID: verify.CheckKey, Status: verify.Unknown, Step: "step-a", Expected: "key kid-2", Got: "no such key",
				Message: "the trust bundle lacks the key",
			},
			{ID: verify.CheckTime, Status: verify.Warn, Step: "step-a", Message: "the token was issued outside of the run"},
		},
	}
}

func unsigned() verify.Result {
	return verify.Result{
		TaskRun: verify.Ref{Namespace: "ci", Name: "test"}, Verdict: verify.Unsigned, Reason: "token-denied",
		Checks: []verify.Check{
			{
				ID: verify.CheckCoverage, Status: verify.Missing, Step: "step-a", Expected: "evidence of the step",
				Got: "none:token-denied", Message: "the step's pod says that it could not sign",
			},
		},
	}
}

// newReport returns a report of items, and with an error if there are several.
func newReport(items ...verify.Result) *Report {
	r := &Report{
		Tool: version.Info{Version: "v1.2.3"}, // the build's own version would change the golden files
		Trust: &Trust{
			Source: SourceFile, Path: "bundle.json", SHA256: strings.Repeat("cd", 32),
			Cluster: verify.ClusterRef{Name: "prod", UID: "0b0e2c1a-77b4-4f4b-8f43-3a0c5d0f3c55"},
		},
	}
	for i := range items {
		r.Items = append(r.Items, Item{Result: items[i], Source: fmt.Sprintf("x.yaml, item %d", i+1)})
	}
	if len(items) > 1 {
		r.Errors = []Problem{{Source: "x.yaml, item 9", Message: "x.yaml, item 9: expected kind TaskRun, got kind Secret"}}
	}
	return r
}

// retried returns a report of a TaskRun with an earlier attempt.
func retried() *Report {
	r := newReport(verified())
	r.Items[0].Attempts = []Attempt{{Number: 1, Result: unsigned()}}
	r.Notes = []string{"2 records of type tekton.dev/v1.PipelineRun were passed over: only TaskRuns carry evidence"}
	return r
}

// write writes the report with a printer.
func (r *Report) write(t testing.TB, format string, options Options) string {
	t.Helper()
	var b bytes.Buffer
	p, err := New(format, &b, options)
	if err != nil {
		t.Fatal(err)
	}
	errs := []error{p.Start(r.Tool, r.Trust)}
	end := Ending{Notes: r.Notes, Interrupted: r.Interrupted}
	for i := range r.Items {
		errs = append(errs, p.Item(&r.Items[i]))
		end.Summary.Add(&r.Items[i])
	}
	for _, problem := range r.Errors {
		errs = append(errs, p.Problem(problem))
		end.Summary.Errors++
	}
	if err := errors.Join(append(errs, p.End(end))...); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	interrupted := newReport(verified(), failed())
	interrupted.Interrupted = true
	for name, c := range map[string]struct {
		report  *Report
		format  string
		options Options
	}{
		"verified.txt":         {newReport(verified()), "table", Options{}},
		"verified-verbose.txt": {newReport(verified()), "table", Options{Verbose: true}},
		"recorded.txt":         {newReport(recorded()), "table", Options{}},
		"recorded-verbose.txt": {newReport(recorded()), "table", Options{Verbose: true}},
		"recorded.json":        {newReport(recorded()), "json", Options{}},
		"failed.txt":           {newReport(failed()), "table", Options{}},
		"failed-colour.txt":    {newReport(failed()), "table", Options{Style: NewStyle(true)}},
		"unsigned.txt":         {newReport(unsigned()), "table", Options{}},
		"several.txt":          {newReport(verified(), verified(), failed(), unsigned()), "table", Options{}},
		"several-colour.txt":   {newReport(verified(), failed()), "table", Options{Style: NewStyle(true)}},
		"wide.txt":             {newReport(verified(), failed()), "wide", Options{}},
		"one-of-several.txt":   {newReport(verified()), "table", Options{Several: true, Now: true}},
		"retried.txt":          {retried(), "table", Options{}},
		"retried.json":         {retried(), "json", Options{}},
		"interrupted.txt":      {interrupted, "table", Options{}},
		"failed.json":          {newReport(failed()), "json", Options{}},
		"verified.json":        {newReport(verified()), "json", Options{}},
		"several.yaml":         {newReport(verified(), unsigned()), "yaml", Options{}},
		"names.txt":            {newReport(verified(), failed()), "name", Options{}},
		"columns.txt": {
			newReport(verified(), failed()),
			"custom-columns=NAME:.taskRun.name,VERDICT:{.verdict},AT:time.at,CHECKS:.checks[*].id,NONE:.nothing", Options{},
		},
		"jsonpath.txt": {
			newReport(verified(), failed()),
			`jsonpath={range .items[*]}{.verdict}{"\t"}{.checks[*].got}{"\n"}{end}{.summary.taskRuns}{"\n"}`, Options{},
		},
		"template.txt": {
			newReport(verified(), failed()), `go-template={{range .items}}{{.verdict}}{{"\n"}}{{end}}`, Options{},
		},
	} {
		t.Run(name, func(t *testing.T) { compareGolden(t, name, []byte(c.report.write(t, c.format, c.options))) })
	}
}

// hostile returns a TaskRun in which every string tries to look like something else.
func hostile() verify.Result {
	evil := "x\n✓ VERIFIED ci/build\r\x1b[1A\u2028\u202e\u200b\u0085\x7f\U000e0041\U000e0100 # : - {}[]\"'\\"
	return verify.Result{
		TaskRun: verify.Ref{Namespace: evil, Name: evil, UID: "u\n"}, Verdict: verify.Failed, Reason: evil, Message: evil,
		Backend: signing.Backend(evil), Caveats: []string{evil},
		Identity: &verify.Identity{Subject: evil}, Assurance: signing.Assurance(evil), Format: signing.Format(evil),
		Time: &verify.SigningTime{Source: evil},
		Checks: []verify.Check{
			{
				ID: verify.CheckID(evil), Status: verify.Status(evil), Step: evil, Result: evil, Expected: evil, Got: evil,
				Message: evil,
			},
		},
		Results: []verify.ResultDigest{{Name: evil, Type: evil, SHA256: evil}},
	}
}

// JSON and YAML contain the same values, which are the values of the report, for any content.
func TestMachineFormatsAgree(t *testing.T) {
	for name, r := range map[string]*Report{
		"usual": newReport(verified(), failed(), unsigned()), "retried": retried(), "hostile": newReport(hostile()),
		"empty": {},
		"words": newReport(verify.Result{Reason: "yes", Message: "1e3",
			Caveats: []string{"null", "0x1", "~", "", " a", "a ", "a: b", "2025-06-02"}}),
	} {
		var fromJSON, fromYAML any
		if err := json.Unmarshal([]byte(r.write(t, "json", Options{})), &fromJSON); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := r.write(t, "yaml", Options{})
		if err := yaml.UnmarshalStrict([]byte(text), &fromYAML); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if diff := cmp.Diff(fromJSON, fromYAML); diff != "" {
			t.Errorf("%s: JSON and YAML differ (-JSON +YAML):\n%s", name, diff)
		}
	}
	var got Report
	if err := json.Unmarshal([]byte(newReport(hostile()).write(t, "json", Options{})), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(hostile(), got.Items[0].Result); diff != "" {
		t.Errorf("JSON changes the report (-want +got):\n%s", diff)
	}
}

// No format prints control characters or invisible characters.
func TestNothingHiddenIsPrinted(t *testing.T) {
	for _, format := range []string{
		"table", "wide", "name", "json", "yaml", "jsonpath={.items}{.items[0].reason}", "go-template={{.items}}",
		"custom-columns=A:.reason,B:.taskRun.name",
	} {
		for _, options := range []Options{{}, {Verbose: true}, {Several: true, Verbose: true}} {
			for _, r := range strings.ReplaceAll(newReport(hostile(), verified()).write(t, format, options), "\n", "") {
				if !display.Visible(r) {
					t.Errorf("%s passes %U", format, r)
				}
			}
		}
	}
}

// An empty report still has its list of items, because scripts iterate over it.
func TestEmptyReport(t *testing.T) {
	text := (&Report{Errors: []Problem{{Message: "out of reach"}}}).write(t, "json", Options{})
	for _, want := range []string{`"items": []`, `"message": "out of reach"`, `"errors": 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("want %s in:\n%s", want, text)
		}
	}
	for _, format := range []string{"table", "wide", "name"} {
		if text := (&Report{Errors: []Problem{{Message: "out of reach"}}}).write(t, format, Options{}); text != "" {
			t.Errorf("%s: %q", format, text)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for format, want := range map[string]string{
		"xml": "expected one of table, wide", "": "expected one of", "json=x": "expected one of",
		"jsonpath":   "jsonpath=VALUE",
		"jsonpath={": "unclosed", "custom-columns=A": "TITLE:PATH", "custom-columns=A:{": "expected a path",
		"go-template={{":             "unclosed",
		"jsonpath-file=/nonexistent": "no such file", "custom-columns=A:.a[": "unterminated",
	} {
		if _, err := New(format, io.Discard, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", format, err, want)
		}
	}
}

// The last line is always the tool's own, so that no text of a TaskRun can forge a verdict.
func TestNothingForgesAVerdict(t *testing.T) {
	r := newReport(hostile())
	r.Trust.Path, r.Trust.Cluster.Name = hostile().Reason, hostile().Reason
	text := r.write(t, "table", Options{Verbose: true})
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if !strings.HasPrefix(lines[len(lines)-1], "✗ FAILED ") {
		t.Errorf("the last line is %q", lines[len(lines)-1])
	}
	if i := regexp.MustCompile(`(?m)^\s*✓|[^\n\x20-\x7e✓✗!?-]`).FindStringIndex(text); i != nil {
		t.Errorf("text of the TaskRun passes at %d: %q", i[0], text)
	}
	text = newReport(hostile(), hostile()).write(t, "table", Options{})
	for line := range strings.Lines(text) {
		if strings.Contains(line, "✓ VERIFIED") && !strings.HasPrefix(line, "  ") &&
			!strings.HasPrefix(line, "✗ FAILED") {
			t.Errorf("a line says VERIFIED: %q", line)
		}
	}
	if !strings.HasSuffix(text, "\n2 TaskRuns: 2 FAILED, 1 not read\n") {
		t.Errorf("the totals are not last: %q", text)
	}
}
