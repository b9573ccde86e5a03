// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"encoding/json"
	"fmt"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// artifacts makes the first step emit one artifact with n values.
func artifacts(n int) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		a := v1.Artifacts{Outputs: []v1.Artifact{{Name: "a"}}}
		for i := range n {
			a.Outputs[0].Values = append(a.Outputs[0].Values, v1.ArtifactValue{Uri: fmt.Sprint(i)})
		}
		value, err := json.Marshal(a)
		if err != nil {
			panic(err)
		}
		r.Steps[0].Entries = append(r.Steps[0].Entries,
			result.RunResult{Key: "step-build/artifacts", Value: string(value), ResultType: result.StepArtifactsResultType})
	}
}

// Objects of hostile size end in a verdict.
func TestLimits(t *testing.T) {
	runVerdictCases(t, map[string]verdictCase{
		"many artifacts": {sign: artifacts(250), want: verify.Verified},
		"too many artifacts": {
			sign: artifacts(300), want: verify.Indeterminate, checks: []string{"artifacts"},
		},
		"too many steps": {
			tamper: func(tr *v1.TaskRun) {
				for len(tr.Status.Steps) <= 5000 {
					tr.Status.Steps = append(tr.Status.Steps, tr.Status.Steps...)
				}
			},
			want: verify.Failed, checks: []string{"position"},
		},
		"too many promotions": {
			tamper: func(tr *v1.TaskRun) {
				for i := range 20000 {
					tr.Status.TaskSpec.Results = append(tr.Status.TaskSpec.Results, v1.TaskResult{
						Name: fmt.Sprint(i), Type: "string", Value: v1.NewStructuredValues("$(steps.build.results.x)"),
					})
				}
			},
			want: verify.Indeterminate, checks: []string{"declaration"},
		},
		"many results": {
			tamper: func(tr *v1.TaskRun) {
				for range 50000 {
					tr.Status.Results = append(tr.Status.Results, tr.Status.Results[0])
				}
			},
			want: verify.Failed, checks: []string{"results IMAGE_DIGEST"},
		},
	})
}

func TestManyFailuresAreCounted(t *testing.T) {
	tr := newTaskRun(t, nil)
	for i := range 100 {
		tr.Status.Results = append(tr.Status.Results, v1.TaskRunResult{
			Name: fmt.Sprint(i), Type: "string", Value: *v1.NewStructuredValues("x"),
		})
	}
	got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
	var failed int
	var last verify.Check
	for _, c := range got.Checks {
		if c.ID == verify.CheckResults {
			last = c
			if c.Status == verify.Fail {
				failed++
			}
		}
	}
	if failed != 64 || last.Message != "36 more like these" || last.Status != verify.Note {
		t.Errorf("%d failed checks, the last is %+v", failed, last)
	}
}
