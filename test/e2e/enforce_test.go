// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	podtemplate "github.com/tektoncd/pipeline/pkg/apis/pipeline/pod"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"
)

// tektonController is the account of Tekton's controller.
const tektonController = "system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"

// TestEnforce runs in namespaces that are labelled for enforcement, beside others that are audited.
func TestEnforce(t *testing.T) {
	c := open(t)
	c.enable(t)
	t.Run("on", func(t *testing.T) {
		t.Run("verified", func(t *testing.T) { t.Parallel(); testEnforceVerified(t, c) })
		t.Run("unsigned", func(t *testing.T) { t.Parallel(); testEnforceUnsigned(t, c) })
		t.Run("reserved name", func(t *testing.T) { t.Parallel(); testEnforceReserved(t, c) })
		t.Run("consumers", func(t *testing.T) { t.Parallel(); testConsumers(t, c) })
		t.Run("retries", func(t *testing.T) { t.Parallel(); testEnforceRetries(t, c) })
		t.Run("a later attempt verifies", func(t *testing.T) { t.Parallel(); testSignsAtLast(t, c) })
		t.Run("endings", func(t *testing.T) { t.Parallel(); testEndings(t, c) })
		t.Run("the declaration is pinned", func(t *testing.T) { t.Parallel(); testDeclarationIsPinned(t, c) })
		t.Run("writes after completion", func(t *testing.T) { t.Parallel(); testWritesAfterCompletion(t, c) })
	})
}

// enforced creates a namespace in which results are enforced.
func (c *cluster) enforced(t *testing.T) string {
	t.Helper()
	ns := c.namespace(t, true)
	c.mustKubectl(t, "label", "namespace", ns, "tekton-sign.dev/enforcement=enforce")
	return ns
}

// withoutToken takes from the pod what it needs to sign.
func withoutToken(tr *pipelinev1.TaskRun) *pipelinev1.TaskRun {
	no := false
	tr.Spec.PodTemplate = &podtemplate.Template{AutomountServiceAccountToken: &no}
	return tr
}

// wantEnforced wants a TaskRun that enforcement has failed, with a message that begins so and nothing that other
// tasks could use.
func wantEnforced(t *testing.T, tr *pipelinev1.TaskRun, message string) {
	t.Helper()
	got := tr.Status.GetCondition(apis.ConditionSucceeded)
	if !got.IsFalse() || got.Reason != "TaskRunResultsVerificationFailed" || !strings.HasPrefix(got.Message, message) {
		t.Errorf("TaskRun %s: Succeeded is %s/%s: %s; want False/TaskRunResultsVerificationFailed: %s...",
			tr.Name, got.Status, got.Reason, got.Message, message)
	}
	wantCondition(t, tr, "False", "TaskRunResultsVerificationFailed")
	if len(tr.Status.Results) > 0 || tr.Status.Artifacts != nil {
		t.Errorf("TaskRun %s: results %v, artifacts %v", tr.Name, tr.Status.Results, tr.Status.Artifacts)
	}
	for _, s := range tr.Status.Steps {
		if len(s.Results)+len(s.Inputs)+len(s.Outputs) > 0 {
			t.Errorf("TaskRun %s: step %s has results %v, inputs %v, outputs %v", tr.Name, s.Name, s.Results, s.Inputs,
				s.Outputs)
		}
	}
}

func testEnforceVerified(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	tr := c.start(t, ns, fixture(t, "results"))
	running := c.watchUntil(t, tr, "has a pod", func(tr *pipelinev1.TaskRun) bool { return tr.Status.PodName != "" })
	wantCondition(t, running, "Unknown", "AwaitingTaskRunResults")
	tr = c.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
	wantSucceeded(t, tr)
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	wantResultNames(t, tr, "digest", "tags", "image")
}

func testEnforceUnsigned(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	tr := c.finish(t, ns, withoutToken(fixture(t, "results")))
	wantEnforced(t, tr, "UNSIGNED: no-credential")
	c.verify(t, "UNSIGNED", 3, "-n", ns, "taskrun/"+tr.Name)
}

// testEnforceReserved declares the name of a carrier as a result.
func testEnforceReserved(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	tr := fixture(t, "results")
	tr.Spec.TaskSpec.Results = append(tr.Spec.TaskSpec.Results,
		pipelinev1.TaskResult{Name: "SVID", Type: pipelinev1.ResultsTypeString})
	wantEnforced(t, c.finish(t, ns, tr), "FAILED: reserved")
}

// pipelineRun reads a PipelineRun of testdata/pipelineruns.
func pipelineRun(t *testing.T, name string) *pipelinev1.PipelineRun {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "pipelineruns", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var pr pipelinev1.PipelineRun
	if err := yaml.UnmarshalStrict(data, &pr); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &pr
}

// finishPipeline runs a PipelineRun to its end and returns it with its TaskRuns by the names of their pipeline tasks.
func (c *cluster) finishPipeline(t *testing.T, ns, name string) (*pipelinev1.PipelineRun,
	map[string]*pipelinev1.TaskRun) {
	t.Helper()
	client := c.tekton.TektonV1().PipelineRuns(ns)
	pr, err := client.Create(t.Context(), pipelineRun(t, name), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.eventually(t, "the PipelineRun "+name, func(ctx context.Context) (bool, error) {
		pr, err = client.Get(ctx, pr.Name, metav1.GetOptions{})
		return err == nil && pr.IsDone(), err
	})
	list, err := c.tekton.TektonV1().TaskRuns(ns).List(t.Context(),
		metav1.ListOptions{LabelSelector: "tekton.dev/pipelineRun=" + pr.Name})
	if err != nil {
		t.Fatal(err)
	}
	byTask := map[string]*pipelinev1.TaskRun{}
	for i := range list.Items {
		byTask[list.Items[i].Labels["tekton.dev/pipelineTask"]] = &list.Items[i]
	}
	return pr, byTask
}

// testConsumers shows for every way in which a result is used that the unsigned one is used in audit and not where
// results are enforced.
func testConsumers(t *testing.T, c *cluster) {
	always := []string{"after-good", "cleanup", "good", "unsigned"}
	consumers := []string{"finally-param", "finally-when", "guarded", "matrix", "param"}
	t.Run("audit", func(t *testing.T) {
		t.Parallel()
		pr, byTask := c.finishPipeline(t, c.namespace(t, true), "consumers")
		wantTasks(t, byTask, append(always, consumers...))
		if len(pr.Status.Results) != 2 {
			t.Errorf("results of the PipelineRun: %v", pr.Status.Results)
		}
	})
	t.Run("enforce", func(t *testing.T) {
		t.Parallel()
		pr, byTask := c.finishPipeline(t, c.enforced(t), "consumers")
		wantTasks(t, byTask, always)
		if unsigned := byTask["unsigned"]; unsigned != nil {
			wantEnforced(t, unsigned, "UNSIGNED: no-credential")
		}
		if len(pr.Status.Results) > 1 || len(pr.Status.Results) == 1 && pr.Status.Results[0].Name != "fine" {
			t.Errorf("results of the PipelineRun: %v", pr.Status.Results)
		}
	})
}

func wantTasks(t *testing.T, got map[string]*pipelinev1.TaskRun, want []string) {
	t.Helper()
	slices.Sort(want)
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("these tasks ran: %v, want %v", names, want)
	}
}

func testEnforceRetries(t *testing.T, c *cluster) {
	pr, byTask := c.finishPipeline(t, c.enforced(t), "retries")
	wantTasks(t, byTask, []string{"cleanup", "unsigned"})
	if !pr.Status.GetCondition(apis.ConditionSucceeded).IsFalse() {
		t.Errorf("the PipelineRun did not fail: %v", pr.Status.GetCondition(apis.ConditionSucceeded))
	}
	tr := byTask["unsigned"]
	wantEnforced(t, tr, "UNSIGNED: no-credential")
	attempts := append(slices.Clone(tr.Status.RetriesStatus), tr.Status)
	if len(attempts) != 3 {
		t.Fatalf("got %d attempts, want 3:\n%s", len(attempts), describe(tr))
	}
	var last metav1.Time
	for n, attempt := range attempts {
		want := tr.Name + "-pod"
		if n > 0 {
			want = fmt.Sprintf("%s-retry%d", want, n)
		}
		if attempt.PodName != want || attempt.StartTime.Before(&last) || attempt.CompletionTime.Before(attempt.StartTime) {
			t.Errorf("attempt %d: pod %s, %s to %s; want pod %s, not before %s",
				n, attempt.PodName, attempt.StartTime, attempt.CompletionTime, want, last)
		}
		last = *attempt.CompletionTime
		wantEnforced(t, &pipelinev1.TaskRun{ObjectMeta: metav1.ObjectMeta{Name: attempt.PodName}, Status: attempt},
			"UNSIGNED: no-credential")
	}
	if cleanup := byTask["cleanup"]; cleanup.CreationTimestamp.Before(&last) {
		t.Errorf("the finally task was created at %s, before the last attempt ended at %s", cleanup.CreationTimestamp, last)
	}
}

func testSignsAtLast(t *testing.T, c *cluster) {
	tr := c.finish(t, c.enforced(t), fixture(t, "signs-at-last"))
	wantSucceeded(t, tr)
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	wantResultNames(t, tr, "attempt")
	if len(tr.Status.RetriesStatus) != 1 {
		t.Fatalf("want one archived attempt:\n%s", describe(tr))
	}
	wantEnforced(t, &pipelinev1.TaskRun{Status: tr.Status.RetriesStatus[0]}, "UNSIGNED: too-long")
}

// testWritesAfterCompletion writes as an administrator. Where results are enforced, the webhook stops him before
// the policies do.
func testWritesAfterCompletion(t *testing.T, c *cluster) {
	forged := `{"status":{"results":[{"name":"digest","type":"string","value":"evil"}]}}`
	patch := func(ns, name, content string) (*pipelinev1.TaskRun, error) {
		return c.tekton.TektonV1().TaskRuns(ns).Patch(t.Context(), name, types.MergePatchType, []byte(content),
			metav1.PatchOptions{}, "status")
	}
	t.Run("enforce", func(t *testing.T) {
		t.Parallel()
		tr := c.finish(t, c.enforced(t), fixture(t, "results"))
		if _, err := patch(tr.Namespace, tr.Name, forged); err == nil ||
			!strings.Contains(err.Error(), "the TaskRun is completed, and its results are enforced") {
			t.Errorf("the results were changed: %v", err)
		}
		if _, err := patch(tr.Namespace, tr.Name, `{"status":{"taskSpec":{"description":"other"}}}`); err == nil {
			t.Error("the declaration was changed")
		}
		// Tekton's controller may write, and drop the verdict by mistake.
		out := c.kubectl(t, "patch", "-n", tr.Namespace, "taskrun/"+tr.Name, "--subresource=status", "--type=merge", "--as",
			tektonController, "-p",
			`{"status":{"conditions":[{"type":"Succeeded","status":"True","reason":"Succeeded",`+
				`"lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`)
		if out.code != 0 {
			t.Fatal(out)
		}
		dropped, err := c.tekton.TektonV1().TaskRuns(tr.Namespace).Get(t.Context(), tr.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantCondition(t, dropped, "True", "TaskRunResultsVerified")
	})
	t.Run("audit", func(t *testing.T) {
		t.Parallel()
		tr := c.finish(t, c.namespace(t, true), fixture(t, "results"))
		changed, err := patch(tr.Namespace, tr.Name, forged)
		if err != nil {
			t.Fatalf("refused in audit: %v", err)
		}
		got := wantCondition(t, changed, "False", "TaskRunResultsVerificationFailed")
		if !strings.HasPrefix(got.Message, "written after completion by ") ||
			!strings.Contains(got.Message, "FAILED: results, result digest") {
			t.Errorf("message %q", got.Message)
		}
		if len(changed.Status.Results) != 1 {
			t.Errorf("audit changed the results: %v", changed.Status.Results)
		}
	})
}

// testDeclarationIsPinned changes the declaration of a TaskRun that runs.
func testDeclarationIsPinned(t *testing.T, c *cluster) {
	tr := fixture(t, "results")
	tr.Spec.TaskSpec.Steps[0].Script += "sleep 3\n"
	tr = c.start(t, c.namespace(t, true), tr)
	running := c.watchUntil(t, tr, "runs", func(tr *pipelinev1.TaskRun) bool { return tr.Status.PodName != "" })
	changed, err := c.tekton.TektonV1().TaskRuns(tr.Namespace).Patch(t.Context(), tr.Name, types.MergePatchType,
		[]byte(`{"status":{"taskSpec":{"results":[{"name":"digest","type":"array"}]}}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(running.Status.TaskSpec, changed.Status.TaskSpec); diff != "" {
		t.Errorf("status.taskSpec was changed: %s", diff)
	}
	wantCondition(t, c.watchUntil(t, changed, "is done", (*pipelinev1.TaskRun).IsDone), "True", "TaskRunResultsVerified")
}
