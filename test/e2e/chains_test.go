// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	podtemplate "github.com/tektoncd/pipeline/pkg/apis/pipeline/pod"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TestNightlyChains holds TaskRuns and PipelineRuns from the stock controller of Tekton Chains, which runs in the lab.
func TestNightlyChains(t *testing.T) {
	c := open(t)
	lab(t, "add", "chains")
	t.Cleanup(func() { lab(t, "remove", "chains") })
	c.enable(t)
	c.gate(t, true)
	t.Run("gate", func(t *testing.T) {
		t.Run("good", func(t *testing.T) { t.Parallel(); testAttested(t, c) })
		t.Run("without results", func(t *testing.T) { t.Parallel(); testNothingToVerify(t, c) })
		t.Run("tampered", func(t *testing.T) { t.Parallel(); testNotAttested(t, c) })
		t.Run("pipeline run", func(t *testing.T) { t.Parallel(); testPipelineRunAttested(t, c) })
		t.Run("pipeline run with a bad child", func(t *testing.T) { t.Parallel(); testPipelineRunNotAttested(t, c) })
		t.Run("only the add-on lifts", func(t *testing.T) { t.Parallel(); testHoldIsGuarded(t, c) })
		t.Run("deleted while it runs", func(t *testing.T) { t.Parallel(); testDeletedRunning(t, c) })
	})
	t.Run("one-second TaskRuns", func(t *testing.T) { testQuick(t, c) })
	t.Run("deleted while held", func(t *testing.T) { testDeletedHeld(t, c) })
	t.Run("completed without the hold", func(t *testing.T) { testCompletedUnheld(t, c) })
	t.Run("turned off", func(t *testing.T) { testGateOff(t, c) })
}

// gate turns the gate on or off.
func (c *cluster) gate(t *testing.T, on bool) output {
	t.Helper()
	out := c.kubectl(t, enableArgs("--yes", fmt.Sprintf("--gate-chains=%v", on))...)
	if out.code != 0 {
		t.Fatalf("enable: %s", out)
	}
	return out
}

// gateOf is what the gate wrote: its state and the rest of the marker.
func gateOf(o metav1.Object) (chains.State, string) {
	text, ok := strings.CutPrefix(o.GetAnnotations()[chains.Marker], string(o.GetUID())+": ")
	if !ok {
		return chains.None, ""
	}
	state, why, _ := strings.Cut(text, ", ")
	return chains.State(state), why
}

// payload returns what Chains has signed for an object, empty if there is nothing.
func payload(t *testing.T, o metav1.Object) string {
	t.Helper()
	for key, value := range o.GetAnnotations() {
		if strings.HasPrefix(key, "chains.tekton.dev/payload-") {
			text, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				t.Fatalf("annotation %s: %v", key, err)
			}
			return string(text)
		}
	}
	return ""
}

func isAttested(t *testing.T, o metav1.Object) bool {
	t.Helper()
	return o.GetAnnotations()[chains.Hold] == "true" && payload(t, o) != ""
}

// taskRun waits until a TaskRun is as wanted.
func (c *cluster) taskRun(t *testing.T, tr *pipelinev1.TaskRun, what string,
	wanted func(*pipelinev1.TaskRun) bool) *pipelinev1.TaskRun {
	t.Helper()
	var got *pipelinev1.TaskRun
	c.eventually(t, fmt.Sprintf("TaskRun %s to be %s", tr.Name, what), func(ctx context.Context) (bool, error) {
		var err error
		got, err = c.tekton.TektonV1().TaskRuns(tr.Namespace).Get(ctx, tr.Name, metav1.GetOptions{})
		return err == nil && wanted(got), err
	})
	return got
}

func (c *cluster) attested(t *testing.T, tr *pipelinev1.TaskRun) *pipelinev1.TaskRun {
	t.Helper()
	return c.taskRun(t, tr, "attested", func(tr *pipelinev1.TaskRun) bool {
		state, _ := gateOf(tr)
		return isAttested(t, tr) && state == chains.Released && !hasFinalizer(tr)
	})
}

func (c *cluster) refused(t *testing.T, tr *pipelinev1.TaskRun) *pipelinev1.TaskRun {
	t.Helper()
	return c.taskRun(t, tr, "refused", func(tr *pipelinev1.TaskRun) bool {
		state, _ := gateOf(tr)
		return state == chains.Refused && !hasFinalizer(tr)
	})
}

func (c *cluster) held(t *testing.T, tr *pipelinev1.TaskRun) *pipelinev1.TaskRun {
	t.Helper()
	return c.taskRun(t, tr, "held", func(tr *pipelinev1.TaskRun) bool {
		state, _ := gateOf(tr)
		return state == chains.Held && hasFinalizer(tr) && tr.Annotations[chains.Hold] == chains.HoldValue
	})
}

func hasFinalizer(o metav1.Object) bool {
	for _, f := range o.GetFinalizers() {
		if f == chains.Finalizer {
			return true
		}
	}
	return false
}

func isRunning(tr *pipelinev1.TaskRun) bool {
	return len(tr.Status.Steps) == 1 && tr.Status.Steps[0].Running != nil
}

// end lets the step of a slow TaskRun come to its end.
func (c *cluster) end(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	c.mustKubectl(t, "exec", "-n", tr.Namespace, tr.Status.PodName, "-c", "step-build", "--", "touch", "/tekton/home/end")
}

// neverAttested looks for some time whether Chains signs after all. It signs a good TaskRun within a second.
func (c *cluster) neverAttested(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	for range 10 {
		got, err := c.tekton.TektonV1().TaskRuns(tr.Namespace).Get(t.Context(), tr.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if payload(t, got) != "" || got.Annotations[chains.Hold] != chains.HoldValue {
			t.Fatalf("Chains got it: %s", describe(got))
		}
		time.Sleep(time.Second)
	}
}

func testAttested(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	tr := c.attested(t, c.start(t, ns, fixture(t, "results")))
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	// docs/chains.md
	c.mustKubectl(t, "wait", "taskrun/"+tr.Name, "-n", ns, "--for=condition=SignedResultsVerified", "--timeout=5s")
	statement := payload(t, tr)
	if !strings.Contains(statement, "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae") {
		t.Errorf("the attestation does not hold the result: %s", statement)
	}
	for _, r := range tr.Status.Results {
		if signing.IsReserved(r.Name) || strings.Contains(statement, "tekton-result-signing") {
			t.Errorf("the attestation holds signing material: %s", statement)
		}
	}
}

func testNothingToVerify(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	c.attested(t, c.start(t, ns, fixture(t, "no-results")))
	refusedByTekton := fixture(t, "quick") // it names a Task that does not exist, and fails without a pod
	refusedByTekton.Spec.TaskSpec, refusedByTekton.Spec.TaskRef = nil, &pipelinev1.TaskRef{Name: "none"}
	tr := c.attested(t, c.start(t, ns, refusedByTekton))
	if tr.IsSuccessful() {
		t.Errorf("a TaskRun without its Task succeeded: %s", describe(tr))
	}
}

func testNotAttested(t *testing.T, c *cluster) {
	audit, enforce := c.namespace(t, true), c.enforced(t)
	unsigned := c.start(t, audit, withoutToken(fixture(t, "quick")))
	failed := c.start(t, enforce, withoutToken(fixture(t, "quick")))

	// Somebody who writes the status completes a TaskRun with a result of his own before Tekton does.
	forged := c.taskRun(t, c.start(t, audit, fixture(t, "slow")), "running", isRunning)
	forged.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: "True", Reason: "Succeeded"})
	forged.Status.CompletionTime = &metav1.Time{Time: time.Now()}
	forged.Status.Results = []pipelinev1.TaskRunResult{{
		Name: "digest", Type: pipelinev1.ResultsTypeString, Value: *pipelinev1.NewStructuredValues("sha256:evil"),
	}}
	if _, err := c.tekton.TektonV1().TaskRuns(audit).UpdateStatus(t.Context(), forged,
		metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, tr := range []*pipelinev1.TaskRun{unsigned, failed, forged} {
		tr = c.refused(t, tr)
		wantCondition(t, tr, "False", "TaskRunResultsVerificationFailed")
		if _, why := gateOf(tr); why != "SignedResultsVerified is False" {
			t.Errorf("TaskRun %s: the marker says %q", tr.Name, why)
		}
		c.neverAttested(t, tr)
		c.mustKubectl(t, "delete", "taskrun", tr.Name, "-n", tr.Namespace, "--timeout=30s")
	}
}

func (c *cluster) startPipeline(t *testing.T, ns string, pr *pipelinev1.PipelineRun) *pipelinev1.PipelineRun {
	t.Helper()
	pr, err := c.tekton.TektonV1().PipelineRuns(ns).Create(t.Context(), pr, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c.pipelineRunUntil(t, pr, "held", func(pr *pipelinev1.PipelineRun) bool {
		state, _ := gateOf(pr)
		return state == chains.Held && hasFinalizer(pr)
	})
}

func testPipelineRunAttested(t *testing.T, c *cluster) {
	pr := c.startPipeline(t, c.namespace(t, true), pipelineRun(t, "attested"))
	pr = c.pipelineRunUntil(t, pr, "attested", func(pr *pipelinev1.PipelineRun) bool {
		state, _ := gateOf(pr)
		return isAttested(t, pr) && state == chains.Released && !hasFinalizer(pr)
	})
	if !strings.Contains(payload(t, pr), "sha256:2c26b46b") {
		t.Errorf("the attestation does not hold the result: %s", payload(t, pr))
	}
}

// testPipelineRunNotAttested: the good child is attested, the bad one and the PipelineRun are not.
func testPipelineRunNotAttested(t *testing.T, c *cluster) {
	no := false
	pr := pipelineRun(t, "attested")
	pr.Spec.TaskRunSpecs = []pipelinev1.PipelineTaskRunSpec{{
		PipelineTaskName: "second", PodTemplate: &podtemplate.Template{AutomountServiceAccountToken: &no},
	}}
	pr = c.startPipeline(t, c.namespace(t, true), pr)
	pr = c.pipelineRunUntil(t, pr, "refused", func(pr *pipelinev1.PipelineRun) bool {
		state, _ := gateOf(pr)
		return state == chains.Refused && !hasFinalizer(pr)
	})
	first := &pipelinev1.TaskRun{ObjectMeta: metav1.ObjectMeta{Namespace: pr.Namespace, Name: pr.Name + "-first"}}
	second := &pipelinev1.TaskRun{ObjectMeta: metav1.ObjectMeta{Namespace: pr.Namespace, Name: pr.Name + "-second"}}
	c.attested(t, first)
	c.neverAttested(t, c.refused(t, second))
	pr = c.pipelineRunUntil(t, pr, "refused", func(*pipelinev1.PipelineRun) bool { return true })
	if _, why := gateOf(pr); payload(t, pr) != "" || why != "of TaskRun "+second.Name+": SignedResultsVerified is False" {
		t.Errorf("the marker says %q, the attestation %q", why, payload(t, pr))
	}
}

// testHoldIsGuarded tries as a cluster's administrator.
func testHoldIsGuarded(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	running := c.held(t, c.start(t, ns, fixture(t, "slow")))
	t.Cleanup(func() { c.cancel(t, running) })
	refused := c.refused(t, c.start(t, ns, withoutToken(fixture(t, "quick"))))
	for _, tr := range []*pipelinev1.TaskRun{running, refused} {
		for _, metadata := range []map[string]any{
			{"annotations": map[string]any{chains.Hold: nil}},
			{"annotations": map[string]any{chains.Hold: "true"}},
			{"annotations": map[string]any{chains.Marker: nil}},
			{"annotations": map[string]any{chains.Hold: nil, chains.Marker: nil}, "finalizers": nil},
			{"annotations": map[string]any{chains.Hold: nil, chains.Marker: string(tr.UID) + ": released"}},
			{"finalizers": nil},
		} {
			patch, err := json.Marshal(map[string]any{"metadata": metadata})
			if err != nil {
				t.Fatal(err)
			}
			if _, only := metadata["annotations"]; !only && tr == refused {
				continue // it has no finalizer any more
			}
			out := c.kubectl(t, "patch", "taskrun", tr.Name, "-n", ns, "--type=merge", "-p", string(patch))
			if out.code == 0 || !strings.Contains(out.stderr, "only the add-on of tekton-sign") {
				t.Errorf("patch %s: want a refusal, got %s", patch, out)
			}
		}
	}
	c.mustKubectl(t, "annotate", "taskrun", running.Name, "-n", ns, "somebody=else")
	c.mustKubectl(t, "label", "taskrun", refused.Name, "-n", ns, "somebody=else")
}

func testDeletedRunning(t *testing.T, c *cluster) {
	tr := c.taskRun(t, c.start(t, c.namespace(t, true), fixture(t, "slow")), "running", isRunning)
	c.mustKubectl(t, "delete", "taskrun", tr.Name, "-n", tr.Namespace, "--timeout=30s")
}

// TestNightlyChainsOfReceipts holds TaskRuns from Chains where nothing in the pod signs.
func TestNightlyChainsOfReceipts(t *testing.T) {
	c := open(t)
	lab(t, "add", "chains")
	t.Cleanup(func() { lab(t, "remove", "chains") })
	c.enableWith(t, "receipt", "--gate-chains", "--namespace-selector", selector)
	t.Run("good", func(t *testing.T) { testAttested(t, c) })
	t.Run("completed by somebody else", func(t *testing.T) {
		ns := c.namespace(t, true)
		tr := c.taskRun(t, c.start(t, ns, fixture(t, "slow")), "running", isRunning)
		tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: "True", Reason: "Succeeded"})
		tr.Status.CompletionTime = &metav1.Time{Time: time.Now()}
		if _, err := c.tekton.TektonV1().TaskRuns(ns).UpdateStatus(t.Context(), tr, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		tr = c.refused(t, tr)
		wantCondition(t, tr, "False", "TaskRunResultsVerificationFailed")
		c.neverAttested(t, tr)
		c.mustKubectl(t, "delete", "taskrun", tr.Name, "-n", tr.Namespace, "--timeout=30s")
	})
}
