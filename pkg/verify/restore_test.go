// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// oneStep leaves the first step and its string result.
func oneStep(r *verifytest.Run) {
	r.Steps, r.Spec.Steps, r.Spec.Results = r.Steps[:1], r.Spec.Steps[:1], r.Spec.Results[:1]
	r.Steps[0].Entries = r.Steps[0].Entries[:1]
}

// withTags adds an array result, as the step wrote it.
func withTags(raw string) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		r.Spec.Results = append(r.Spec.Results, v1.TaskResult{Name: "TAGS", Type: v1.ResultsTypeArray})
		r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.TaskResult("TAGS", raw))
	}
}

func scheme(s signing.Scheme) func(*verifytest.Run) {
	return func(r *verifytest.Run) { r.Scheme = s }
}

// TestKeptMaterial verifies archives that dropped the steps' messages and kept the signing material in status.results.
func TestKeptMaterial(t *testing.T) {
	const changed, undecided, none = "FAILED payload", "INDETERMINATE payload", "INDETERMINATE coverage"
	set := func(name, value string) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) {
			for i := range tr.Status.Results {
				if r := &tr.Status.Results[i]; r.Name == name {
					r.Value.StringVal = value
				}
			}
		}
	}
	drop := func(name string) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) {
			kept := tr.Status.Results[:0]
			for _, r := range tr.Status.Results {
				if r.Name != name {
					kept = append(kept, r)
				}
			}
			tr.Status.Results = kept
		}
	}
	stepResults := func(r *verifytest.Run) {
		r.Spec.Steps[0].Results = []v1.StepResult{{Name: "scan", Type: v1.ResultsTypeString}}
		r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.StepResult("scan", "clean"))
	}
	artifacts := func(r *verifytest.Run) {
		r.Steps[0].Entries = append(r.Steps[0].Entries, result.RunResult{
			Key: "step-build/artifacts", Value: `{"outputs":[]}`, ResultType: result.StepArtifactsResultType,
		})
	}
	for name, test := range map[string]struct {
		sign   []func(*verifytest.Run)
		tamper func(*v1.TaskRun)
		want   string
	}{
		"a string": {want: "VERIFIED "},
		"a key":    {sign: single(scheme(signing.SchemeOIDCKeyBound)), want: "VERIFIED "},
		"an SVID":  {sign: single(scheme(signing.SchemeSPIRE)), want: "VERIFIED "},
		"format v1": {
			sign: single(scheme(signing.SchemeOIDCKeyBound), func(r *verifytest.Run) { r.Format = signing.FormatV1 }),
			want: "VERIFIED ",
		},
		"a compact array":      {sign: single(withTags(`["v1","latest"]`)), want: "VERIFIED "},
		"an array with spaces": {sign: single(withTags(`["v1", "latest"]`)), want: undecided},
		"a step result":        {sign: single(stepResults), want: "INDETERMINATE declaration"},
		"artifacts":            {sign: single(artifacts), want: undecided},
		"another value":        {tamper: set("IMAGE_DIGEST", "sha256:forged"), want: changed},
		"another value, by a key": {
			sign: single(scheme(signing.SchemeOIDCKeyBound)), tamper: set("IMAGE_DIGEST", "sha256:forged"), want: changed,
		},
		"another value of v1": {
			sign:   single(scheme(signing.SchemeOIDCKeyBound), func(r *verifytest.Run) { r.Format = signing.FormatV1 }),
			tamper: set("IMAGE_DIGEST", "sha256:forged"), want: changed,
		},
		"a result less": {tamper: drop("IMAGE_DIGEST"), want: undecided},
		"a result more": {tamper: func(tr *v1.TaskRun) {
			more := tr.Status.Results[0]
			more.Name = "MORE"
			tr.Status.Results = append(tr.Status.Results, more)
			tr.Status.TaskSpec.Results = append(tr.Status.TaskSpec.Results,
				v1.TaskResult{Name: "MORE", Type: v1.ResultsTypeString})
		}, want: changed},
		"another exit code": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 }, want: changed,
		},
		"another value of a list": {
			sign: single(withTags(`["v1","latest"]`)), tamper: set("IMAGE_DIGEST", "sha256:forged"), want: undecided,
		},
		"another step's result": {
			sign: single(stepResults), tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Results[0].Value.StringVal = "forged" },
			want: undecided,
		},
		"no token":    {tamper: drop(signing.CarrierToken), want: "FAILED format"},
		"no material": {tamper: verifytest.DropCarriers, want: "UNSIGNED coverage"},
		"of another TaskRun": {
			tamper: func(tr *v1.TaskRun) { tr.UID = "11111111-2222-4333-8444-555555555555" }, want: "FAILED taskrun-uid",
		},
		"a name twice": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Results = append(tr.Status.Results, tr.Status.Results[0]) }, want: none,
		},
		"two steps":          {sign: []func(*verifytest.Run){}, want: none},
		"a step without end": {tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated = nil }, want: none},
	} {
		t.Run(name, func(t *testing.T) {
			run := verifytest.NewRun()
			if test.sign == nil {
				test.sign = single()
			}
			for _, change := range test.sign {
				change(run)
			}
			tr, err := run.TaskRun(theCluster())
			if err != nil {
				t.Fatal(err)
			}
			withoutMessages(tr)
			if test.tamper != nil {
				test.tamper(tr)
			}
			before := tr.DeepCopy()
			got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
			if s := string(got.Verdict) + " " + got.Reason; s != test.want {
				t.Errorf("expected %s, got %s: %s\n%+v", test.want, s, got.Message, got.Checks)
			}
			if said := strings.Contains(strings.Join(got.Caveats, "\n"),
				"rebuilt from the status"); got.Verdict == verify.Verified &&
				!said {
				t.Errorf("expected to be told that the message is gone, got %q", got.Caveats)
			}
			if diff := cmp.Diff(before, tr); diff != "" {
				t.Errorf("the TaskRun was changed:\n%s", diff)
			}
		})
	}
}

// single signs one step.
func single(more ...func(*verifytest.Run)) []func(*verifytest.Run) {
	return append([]func(*verifytest.Run){oneStep}, more...)
}

// If the add-on recorded the TaskRun, the record counts.
func TestKeptMaterialWithARecord(t *testing.T) {
	run := verifytest.NewRun()
	oneStep(run)
	tr, err := run.TaskRun(theCluster())
	if err != nil {
		t.Fatal(err)
	}
	if err := theCluster().Record(tr, verifytest.Recording{}); err != nil {
		t.Fatal(err)
	}
	withoutMessages(tr)
	got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
	if got.Verdict != verify.Verified || got.Time == nil || got.Time.Source != verify.TimeFromRecord {
		t.Errorf("expected VERIFIED by the record, got %s %s, %+v", got.Verdict, got.Reason, got.Time)
	}
}
