// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"encoding/xml"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/preflight"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// preflightReport returns a report with a check in every state, and hostile text in every place.
func preflightReport() *PreflightReport {
	const docs = "https://example.com/docs/preflight.md#ts"
	r := &preflight.Report{
		Backend: "oidc-sa-token", Enable: "kubectl tekton-sign enable oidc-sa-token --namespaces=ci",
		Environment: status.Versions{Kubernetes: "v1.35.4" + nasty, Tekton: "v1.15.0", TektonNamespace: "tekton-pipelines"},
		Checks: []preflight.Result{
			{
				ID: "TS001", Group: preflight.GroupCluster, Title: "the cluster has admission policies", State: preflight.Passed,
				Why: "they restrict", Docs: docs + "001", Milliseconds: 1234,
				Findings: []preflight.Finding{{Status: verify.Pass, Message: "served"}},
			},
			{
				ID: "TS101", Group: preflight.GroupTekton, Title: "Tekton is installed", State: preflight.Failed,
				Why: "the add-on signs what it runs", Docs: docs + "101",
				Findings: []preflight.Finding{{
					Status: verify.Fail, Message: "not found" + nasty + "|<b>&@all ::error::x", Expected: "one", Got: "none" + nasty,
					Next: "kubectl apply -f release.yaml",
				}},
			},
			{
				ID: "TS104", Group: preflight.GroupTekton, Title: "who manages Tekton is known", State: preflight.Passed,
				Why: "it reverts", Docs: docs + "104",
				Findings: []preflight.Finding{{Status: verify.Note, Message: "Tekton Operator manages it"}},
			},
			{
				ID: "TS106", Group: preflight.GroupTekton, Title: "Tekton tries again", State: preflight.Skipped,
				Reason: "results are enforced nowhere", Why: "it fails at once", Docs: docs + "106",
			},
			{
				ID: "TS201", Group: preflight.GroupRights, Title: "enable can make its plan", State: preflight.Unknown,
				Why: "it compares", Docs: docs + "201",
				Findings: []preflight.Finding{{Status: verify.Unknown, Message: "you may not read it", Next: "ask"}},
			},
			{
				ID: "TS602", Group: preflight.GroupNamespaces, Title: "labels name a mode", State: preflight.Warning,
				Why: "another value counts as none", Docs: docs + "602",
				Findings: []preflight.Finding{{
					Status: verify.Warn, Message: "it is no mode", Object: &status.Object{Kind: "Namespace", Name: "ci" + nasty},
				}},
			},
		},
	}
	r.Conclude()
	report := NewPreflight(r)
	report.Tool = version.Info{Version: "v1.2.3"}
	return report
}

func printPreflight(t *testing.T, format string, style Style, verbose bool) string {
	t.Helper()
	write, err := PreflightPrinter(format, style, verbose)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := write(preflightReport(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPreflightFormats(t *testing.T) {
	for name, c := range map[string]struct {
		format  string
		style   Style
		verbose bool
	}{
		"preflight.txt":         {format: "table"},
		"preflight-verbose.txt": {format: "table", verbose: true},
		"preflight-colour.txt":  {format: "table", style: NewStyle(true)},
		"preflight.json":        {format: "json"},
		"preflight.yaml":        {format: "yaml"},
		"preflight.xml":         {format: "junit"},
		"preflight.md":          {format: "markdown"},
	} {
		text := printPreflight(t, c.format, c.style, c.verbose)
		compareGolden(t, name, []byte(text))
		if name == "preflight-colour.txt" {
			continue
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !display.Visible(r) }); i >= 0 {
			t.Errorf("%s holds %q", name, text[i:i+4])
		}
	}
	if _, err := PreflightPrinter("html", Style{}, false); err == nil {
		t.Error("an unknown format is accepted")
	}
}

// Machines can read what is written for them.
func TestPreflightIsReadable(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "docs", "schema",
		"preflightreport.v1alpha1.json"))
	if err != nil {
		t.Fatal(err)
	}
	object, err := jsonschema.UnmarshalJSON(strings.NewReader(printPreflight(t, "json", Style{}, false)))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(object); err != nil {
		t.Errorf("the report is not as its schema says: %v", err)
	}
	var r preflight.Report
	if err := json.Unmarshal([]byte(printPreflight(t, "json", Style{}, false)), &r); err != nil ||
		r.Outcome != preflight.NotReady {
		t.Errorf("got %v and %q", err, r.Outcome)
	}
	var suite junitSuite
	if err := xml.Unmarshal([]byte(printPreflight(t, "junit", Style{}, false)), &suite); err != nil {
		t.Fatal(err)
	}
	got := [4]int{suite.Tests, suite.Failures, suite.Errors, suite.Skipped}
	if want := [4]int{6, 1, 1, 1}; got != want {
		t.Errorf("junit counts: got %v, want %v", got, want)
	}
	if suite.Cases[1].Failure == nil || suite.Cases[4].Error == nil || suite.Cases[3].Skipped == nil ||
		suite.Cases[5].Output == "" {
		t.Errorf("a state is in the wrong place: %+v", suite.Cases)
	}
}
