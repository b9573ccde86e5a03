// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"
	"knative.dev/pkg/kmeta"
)

// outcome is what users and other Tasks see of a TaskRun.
type outcome struct {
	Succeeded string
	Steps     []stepOutcome
	Results   map[string]pipelinev1.ResultValue
	Attempts  int
}

type stepOutcome struct {
	Name              string
	ExitCode          int32
	Reason            string
	TerminationReason string
}

func outcomeOf(tr *pipelinev1.TaskRun) outcome {
	condition := tr.Status.GetCondition(apis.ConditionSucceeded)
	got := outcome{
		Succeeded: string(condition.Status) + "/" + condition.Reason,
		Results:   map[string]pipelinev1.ResultValue{},
		Attempts:  len(tr.Status.RetriesStatus),
	}
	for _, s := range tr.Status.Steps {
		step := stepOutcome{Name: s.Name, TerminationReason: s.TerminationReason}
		if s.Terminated != nil {
			step.ExitCode, step.Reason = s.Terminated.ExitCode, s.Terminated.Reason
		}
		got.Steps = append(got.Steps, step)
	}
	for _, name := range resultNames(tr) {
		for _, r := range tr.Status.Results {
			if r.Name == name {
				got.Results[name] = r.Value
			}
		}
	}
	return got
}

// outcomeCase is a TaskRun with its verdict.
type outcomeCase struct {
	fixture string
	verdict string
	code    int
	cancel  bool
}

func outcomeCases() []outcomeCase {
	return []outcomeCase{
		{fixture: "results", verdict: "VERIFIED"},
		{fixture: "no-results", verdict: "VERIFIED"},
		{fixture: "many-steps", verdict: "VERIFIED"},
		{fixture: "failing", verdict: "VERIFIED"},
		{fixture: "on-error-continue", verdict: "VERIFIED"},
		{fixture: "killed", verdict: "VERIFIED"},
		{fixture: "step-timeout", verdict: "VERIFIED"},
		{fixture: "timed-out", verdict: "VERIFIED"},
		{fixture: "cancelled", verdict: "VERIFIED", cancel: true},
		{fixture: "retried", verdict: "VERIFIED"},
		{fixture: "retries-exhausted", verdict: "VERIFIED"},
		{fixture: "restricted", verdict: "VERIFIED"},
		{fixture: "leftovers", verdict: "VERIFIED"},
		{fixture: "sidecar", verdict: "VERIFIED"},
		{fixture: "invalid-json", verdict: "VERIFIED"},
	}
}

// testSameOutcome runs each TaskRun in a namespace with signing and in one without: nothing but the evidence may
// differ.
func testSameOutcome(t *testing.T, c *cluster) {
	for _, oc := range outcomeCases() {
		t.Run(oc.fixture, func(t *testing.T) {
			t.Parallel()
			signed, plain := c.namespace(t, true), c.namespace(t, false)
			got, want := c.sameOutcome(t, signed, plain, oc)
			wantWrapped(t, c, got)
			c.verify(t, oc.verdict, oc.code, "taskrun/"+got.Name, "-n", signed)
			if oc.verdict == "VERIFIED" {
				wantCondition(t, got, "True", "TaskRunResultsVerified")
			}
			if tr := want.Status.GetCondition(conditionType); tr != nil {
				t.Errorf("a TaskRun outside of the chosen namespaces was given the condition %v", tr)
			}
		})
	}
}

// sameOutcome runs a TaskRun with the add-on and without it, and wants one outcome.
func (c *cluster) sameOutcome(t *testing.T, signed, plain string, oc outcomeCase) (got, want *pipelinev1.TaskRun) {
	t.Helper()
	a, b := c.startOutcome(t, signed, oc), c.startOutcome(t, plain, oc)
	got, want = c.finishOutcome(t, a, oc), c.finishOutcome(t, b, oc)
	if diff := cmp.Diff(outcomeOf(want), outcomeOf(got)); diff != "" {
		t.Errorf("the add-on changes the outcome (-without +with):\n%s", diff)
	}
	return got, want
}

func (c *cluster) startOutcome(t *testing.T, namespace string, oc outcomeCase) *pipelinev1.TaskRun {
	t.Helper()
	return c.start(t, namespace, fixture(t, oc.fixture))
}

func (c *cluster) finishOutcome(t *testing.T, tr *pipelinev1.TaskRun, oc outcomeCase) *pipelinev1.TaskRun {
	t.Helper()
	if oc.cancel {
		last := len(tr.Spec.TaskSpec.Steps) - 1
		tr = c.watchUntil(t, tr, "runs its last step", func(tr *pipelinev1.TaskRun) bool {
			return len(tr.Status.Steps) > last && tr.Status.Steps[last].Running != nil && tr.Status.Steps[0].Terminated != nil
		})
		c.cancel(t, tr)
	}
	return c.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
}

func (c *cluster) cancel(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	patch := []byte(`{"spec":{"status":"TaskRunCancelled"}}`)
	_, err := c.tekton.TektonV1().TaskRuns(tr.Namespace).Patch(context.Background(), tr.Name, types.MergePatchType, patch,
		metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// wantWrapped wants every step of the TaskRun's pod, where it still exists, to run in the signer.
func wantWrapped(t *testing.T, c *cluster, tr *pipelinev1.TaskRun) {
	t.Helper()
	pods, err := c.kube.CoreV1().Pods(tr.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		for _, container := range pod.Spec.Containers {
			isStep := strings.HasPrefix(container.Name, "step-")
			if wrapped := strings.HasSuffix(container.Command[0], "/signer"); wrapped != isStep {
				t.Errorf("container %s of pod %s starts %v", container.Name, pod.Name, container.Command)
			}
		}
	}
}

// testLongNames uses names around and beyond the length at which Tekton hashes the name of the pod.
func testLongNames(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	for _, length := range []int{59, 60, 63} {
		tr := fixture(t, "results")
		tr.Name = strings.Repeat("n", length-1) + "9"
		t.Run(tr.Name, func(t *testing.T) {
			t.Parallel()
			got := c.finish(t, ns, tr)
			wantSucceeded(t, got)
			if want := kmeta.ChildName(tr.Name, "-pod"); got.Status.PodName != want {
				t.Errorf("pod name is %q, want %q", got.Status.PodName, want)
			}
			wantCondition(t, got, "True", "TaskRunResultsVerified")
			c.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns)
		})
	}
}

// testCancelSpeed measures how long the pod of a cancelled TaskRun lives on, with and without the signer. The grace
// period is 30 s, so a signer that swallows signals, or lingers, shows.
func testCancelSpeed(t *testing.T, c *cluster) {
	for _, signed := range []bool{true, false} {
		ns := c.namespace(t, signed)
		tr := fixture(t, "cancelled")
		tr.Spec.TaskSpec.Steps = tr.Spec.TaskSpec.Steps[1:]
		tr = c.watchUntil(t, c.start(t, ns, tr), "runs its step", func(tr *pipelinev1.TaskRun) bool {
			return len(tr.Status.Steps) == 1 && tr.Status.Steps[0].Running != nil
		})
		begin := time.Now()
		c.cancel(t, tr)
		for {
			pods, err := c.kube.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !anyRunning(pods.Items) {
				break
			}
			if time.Since(begin) > 15*time.Second {
				t.Fatalf("signed=%v: the pod still runs 15 s after the TaskRun was cancelled", signed)
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Logf("signed=%v: the pod was gone %s after the cancellation", signed, time.Since(begin).Round(10*time.Millisecond))
	}
}

func anyRunning(pods []corev1.Pod) bool {
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodRunning {
			return true
		}
	}
	return false
}
