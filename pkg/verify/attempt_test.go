// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// retried returns a TaskRun whose first attempt failed, as Tekton stores it, with the attempt's status in
// status.retriesStatus.
func retried(t *testing.T) *v1.TaskRun {
	t.Helper()
	first := newTaskRun(t, func(r *verifytest.Run) {
		r.PodUID, r.Failed = "7d1f3b6e-51d0-4c39-9c0c-1f5ff3b8d3a2", true
		r.Steps[1].ExitCode, r.Steps[1].Reason = 1, "Error"
	})
	tr := newTaskRun(t, func(r *verifytest.Run) { r.Retries = 1 })
	tr.Status.RetriesStatus = []v1.TaskRunStatus{first.Status}
	return tr
}

func TestAttempt(t *testing.T) {
	v, tr := newVerifier(t), retried(t)
	if got := v.TaskRun(t.Context(), tr, verify.Facts{}); got.Verdict != verify.Verified {
		t.Errorf("the last attempt is %s: %+v", got.Verdict, got.Checks)
	}
	if got := verify.Attempts(tr); got != 1 {
		t.Fatalf("%d attempts are archived, want 1", got)
	}
	attempt, err := verify.Attempt(tr, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := v.TaskRun(t.Context(), attempt, verify.Facts{})
	if got.Verdict != verify.Verified || attempt.Status.PodName != "build-pod" {
		t.Errorf("the archived attempt in pod %s is %s: %+v", attempt.Status.PodName, got.Verdict, got.Checks)
	}
	attempt.Status.Steps[1].Terminated.ExitCode = 0
	if got := v.TaskRun(t.Context(), attempt, verify.Facts{}); got.Verdict != verify.Failed || got.Reason != "payload" {
		t.Errorf("an archived attempt with another exit code is %s %s", got.Verdict, got.Reason)
	}
	for _, n := range []int{-1, 1} {
		if _, err := verify.Attempt(tr, n); err == nil {
			t.Errorf("there is no attempt %d, yet no error", n)
		}
	}
}

// What the pod of an archived attempt signed never counts for the TaskRun.
func TestUnitsOfArchivedAttempts(t *testing.T) {
	cases := map[string]func(*v1.TaskRun){
		"its status in place of the current one": func(tr *v1.TaskRun) {
			archive := tr.Status.RetriesStatus
			tr.Status = *archive[0].DeepCopy()
			tr.Status.RetriesStatus = archive
		},
		"its messages in place of the current ones": func(tr *v1.TaskRun) {
			for i, s := range tr.Status.RetriesStatus[0].Steps {
				*tr.Status.Steps[i].Terminated = *s.Terminated
			}
		},
		"the archive names the current pod": func(tr *v1.TaskRun) { tr.Status.RetriesStatus[0].PodName = tr.Status.PodName },
	}
	v := newVerifier(t)
	for name, tamper := range cases {
		t.Run(name, func(t *testing.T) {
			tr := retried(t)
			tamper(tr)
			if got := v.TaskRun(t.Context(), tr, verify.Facts{}); got.Verdict != verify.Failed {
				t.Errorf("%s: %+v", got.Verdict, got.Checks)
			}
		})
	}
}
