// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"slices"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

func TestDeclaration(t *testing.T) {
	promote := func(r *verifytest.Run) {
		r.Spec.Results = append(r.Spec.Results, v1.TaskResult{
			Name: "SCAN", Type: "string", Value: v1.NewStructuredValues("$(steps.build.results.scan)"),
		})
		r.Spec.Steps[0].Results = []v1.StepResult{{Name: "scan", Type: "string"}}
		r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.StepResult("scan", "clean"))
	}
	mismatched := func(r *verifytest.Run) {
		r.Spec.Results[1].Type = v1.ResultsTypeString
		r.Steps[0].Entries[1].Value = `no array`
	}
	// drop removes a result that does not have its declared type, as Tekton's reconciler does.
	drop := func(tr *v1.TaskRun) {
		tr.Spec.TaskSpec.Results[1].Type = v1.ResultsTypeArray
		tr.Status.TaskSpec.Results[1].Type = v1.ResultsTypeArray
		tr.Status.Results = slices.Delete(tr.Status.Results, 1, 2)
	}
	failValidation := func(tr *v1.TaskRun) {
		setOutcome(tr, corev1.ConditionFalse, string(v1.TaskRunReasonFailedValidation))
	}
	live := verify.Facts{Live: true}
	runVerdictCases(t, map[string]verdictCase{
		"promoted, live":   {sign: promote, facts: live, want: verify.Verified},
		"promoted, a file": {sign: promote, want: verify.Indeterminate, checks: []string{"declaration SCAN"}},
		"promoted value changed": {
			sign: promote, facts: live, tamper: setResult("SCAN", "dirty"), want: verify.Failed,
			checks: []string{"results SCAN"},
		},
		"status.taskSpec changed, live": {
			facts: live, tamper: func(tr *v1.TaskRun) { tr.Status.TaskSpec.Results[0].Name = "OTHER" },
			want: verify.Failed, checks: []string{"declaration"},
		},
		"type changed everywhere, live": {
			facts: live, tamper: func(tr *v1.TaskRun) {
				tr.Status.TaskSpec.Results[1].Type = v1.ResultsTypeString
				tr.Status.Results[1].Type = v1.ResultsTypeString
				tr.Status.Results[1].Value = *v1.NewStructuredValues(`["v1.4.0","latest"]`)
			},
			want: verify.Failed, checks: []string{"declaration", "results TAGS"},
		},
		"no status.taskSpec": {tamper: func(tr *v1.TaskRun) { tr.Status.TaskSpec = nil }, want: verify.Verified},
		"dropped": {
			sign: mismatched, facts: live, tamper: func(tr *v1.TaskRun) { drop(tr); failValidation(tr) }, want: verify.Verified,
		},
		"dropped, shown as succeeded": {
			sign: mismatched, facts: live, tamper: drop, want: verify.Failed, checks: []string{"declaration TAGS"},
		},
		"dropped by a changed declaration": {
			sign: mismatched, tamper: drop, want: verify.Failed, checks: []string{"declaration TAGS"},
		},
		"enforcement emptied the results": {
			tamper: func(tr *v1.TaskRun) {
				setOutcome(tr, corev1.ConditionFalse, verify.ReasonVerificationFailed)
				tr.Status.Results = nil
			},
			want: verify.Verified,
		},
	})
}

func TestUnprovenTypesAreNoted(t *testing.T) {
	got := newVerifier(t).TaskRun(t.Context(), newTaskRun(t, nil), verify.Facts{})
	var noted []string
	for _, c := range got.Checks {
		if c.ID == verify.CheckDeclaration && c.Status == verify.Note {
			noted = append(noted, c.Result)
		}
	}
	if want := []string{"TAGS", "SOURCE"}; !slices.Equal(noted, want) {
		t.Errorf("noted %q, want %q", noted, want)
	}
	if len(got.Caveats) == 0 {
		t.Error("it is not said that the declaration is not proven")
	}
}
