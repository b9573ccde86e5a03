// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"os/exec"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNightlyAPIServerDown stops the API server of the lab while a step runs and starts it when the step has ended: the
// TaskRun succeeds with its results, unsigned, with the reason.
func TestNightlyAPIServerDown(t *testing.T) {
	c := open(t)
	c.enable(t)
	ns := c.namespace(t, true)
	tr := fixture(t, "results")
	tr.Spec.TaskSpec.Steps = tr.Spec.TaskSpec.Steps[:1]
	tr.Spec.TaskSpec.Results = tr.Spec.TaskSpec.Results[:2]
	tr.Spec.TaskSpec.Steps[0].Script += "\nsleep 10\n"
	tr = c.watchUntil(t, c.start(t, ns, tr), "runs", func(tr *pipelinev1.TaskRun) bool {
		return len(tr.Status.Steps) == 1 && tr.Status.Steps[0].Running != nil
	})
	lab(t, "stop", "kube-apiserver")
	time.Sleep(25 * time.Second) // the step, and all that the signer tries
	lab(t, "start", "kube-apiserver")

	var done *pipelinev1.TaskRun // polled for: a restarted server knows no older versions to watch from
	c.eventually(t, "the TaskRun to be done", func(ctx context.Context) (bool, error) {
		got, err := c.tekton.TektonV1().TaskRuns(ns).Get(ctx, tr.Name, metav1.GetOptions{})
		done = got
		return err == nil && got.IsDone(), err
	})
	wantSucceeded(t, done)
	wantResultNames(t, done, "digest", "tags")
	wantUnsigned(t, c, done, "api-unreachable")
}

func lab(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("../../bin/lab", args...).CombinedOutput(); err != nil {
		t.Fatalf("lab %v: %v\n%s", args, err, out)
	}
}
