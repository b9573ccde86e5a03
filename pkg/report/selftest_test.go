// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/xml"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/selftest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// selftestReport returns a report with a namespace that passed, one that failed, and hostile text.
func selftestReport(err error) *SelftestReport {
	r := NewSelftest([]selftest.Result{
		{
			Namespace: "ci", State: selftest.Passed, TaskRun: "tekton-sign-selftest-abcde", Backend: "oidc-sa-token",
			Assurance: "payload-bound", Steps: []selftest.Step{
				{ID: selftest.StepStart, State: selftest.Passed, Message: "taskrun/tekton-sign-selftest-abcde", Milliseconds: 12},
				{ID: selftest.StepRun, State: selftest.Passed, Milliseconds: 4321},
				{ID: selftest.StepCleanUp, State: selftest.Skipped, Message: "--keep"},
			},
		},
		{
			Namespace: "release" + nasty, State: selftest.Failed, Steps: []selftest.Step{
				{
					ID: selftest.StepStart, State: selftest.Failed, Message: "creating a TaskRun: no" + nasty, Expected: "a TaskRun",
					Got: "<none>" + nasty, Next: "kubectl auth can-i create taskruns.tekton.dev -n release",
				},
				{ID: selftest.StepRun, State: selftest.Skipped},
			},
		},
	}, err)
	r.Tool = version.Info{Version: "v1.2.3"}
	return r
}

func printSelftest(t *testing.T, format string, r *SelftestReport) string {
	t.Helper()
	write, err := SelftestPrinter(format, Style{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := write(r, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSelftestFormats(t *testing.T) {
	for name, format := range map[string]string{
		"selftest.txt": "table", "selftest.json": "json", "selftest.yaml": "yaml", "selftest.xml": "junit",
	} {
		text := printSelftest(t, format, selftestReport(nil))
		compareGolden(t, name, []byte(text))
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !display.Visible(r) }); i >= 0 {
			t.Errorf("%s holds %q", name, text[i:i+4])
		}
	}
	if _, err := SelftestPrinter("html", Style{}); err == nil {
		t.Error("an unknown format is accepted")
	}
}

// Machines can read what is written for them, also if nothing was tested.
func TestSelftestIsReadable(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "docs", "schema",
		"selftestreport.v1alpha1.json"))
	if err != nil {
		t.Fatal(err)
	}
	unreachable := NewSelftest(nil, errors.New("no cluster"))
	for name, r := range map[string]*SelftestReport{"tested": selftestReport(nil), "not tested": unreachable} {
		object, err := jsonschema.UnmarshalJSON(strings.NewReader(printSelftest(t, "json", r)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(object); err != nil || r.Outcome != selftest.Failed {
			t.Errorf("%s: outcome %s, and the schema: %v", name, r.Outcome, err)
		}
	}
	var suite junitSuite
	if err := xml.Unmarshal([]byte(printSelftest(t, "junit", selftestReport(nil))), &suite); err != nil {
		t.Fatal(err)
	}
	got := [4]int{suite.Tests, suite.Failures, suite.Errors, suite.Skipped}
	if want := [4]int{5, 1, 0, 2}; got != want {
		t.Errorf("junit counts: got %v, want %v", got, want)
	}
}
