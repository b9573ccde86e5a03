// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/budget"
	reports "github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// budgetMargin is how far the length of a compressed message may be from its estimate, because tokens differ.
const budgetMargin = 32

// budgetTasks returns Tasks of several shapes.
func budgetTasks() map[string]pipelinev1.TaskSpec {
	of := func(steps int, value string) pipelinev1.TaskSpec {
		return *emitting("", value, "", steps).Spec.TaskSpec
	}
	tasks := map[string]pipelinev1.TaskSpec{
		"one": of(1, "v"), "two": of(2, strings.Repeat("a", 71)), "five": of(5, noise(71)), "eight": of(8, ""),
		"full":       of(2, noise(1500)),
		"compressed": of(2, noise(700)+strings.Repeat("y", 1900)),
	}
	scripts := of(1, noise(71))
	scripts.Steps = append(scripts.Steps, pipelinev1.Step{
		Name: "fails", Image: busybox, Script: "exit 3", OnError: pipelinev1.Continue, WorkingDir: "/workspace/below",
	})
	scripts.Sidecars = []pipelinev1.Sidecar{{Name: "beside", Image: busybox, Command: []string{"sleep", "600"}}}
	tasks["beside"] = scripts
	return tasks
}

// TestBudgetArithmetic compares the numbers of the command budget with those of real pods, to the byte.
func TestBudgetArithmetic(t *testing.T) {
	c := open(t)
	c.enable(t)
	testBudgetArithmetic(t, c)
}

func testBudgetArithmetic(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	pods := c.runBudgetTasks(t, ns)
	got := c.budget(t, ns)
	for name, pod := range pods {
		t.Run(name, func(t *testing.T) {
			declared, ran := itemOf(t, got, budget.KindTask, name), itemOf(t, got, budget.KindTaskRun, name)
			if wantContainers(t, declared, pod); declared.State == budget.Never {
				wantLeftAlone(t, ran, pod)
				return
			}
			for _, item := range []budget.Item{declared, ran} {
				wantShare(t, item, pod)
			}
			for i, status := range stepStatuses(pod) {
				wantMessage(t, ran.Fit.Steps[i], status)
			}
			if overhead := ran.Fit.Steps[0].Overhead; declared.Fit.Steps[0].Overhead != overhead {
				t.Errorf("Task: overhead %d, the TaskRun has %d", declared.Fit.Steps[0].Overhead, overhead)
			}
		})
	}
}

// runBudgetTasks makes the Tasks, runs each, and returns the pods by the names of the Tasks.
func (c *cluster) runBudgetTasks(t *testing.T, ns string) map[string]*corev1.Pod {
	t.Helper()
	started := map[string]*pipelinev1.TaskRun{}
	for name, spec := range budgetTasks() {
		task := &pipelinev1.Task{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
		_, err := c.tekton.TektonV1().Tasks(ns).Create(t.Context(), task, metav1.CreateOptions{})
		must(t, err)
		started[name] = c.start(t, ns, &pipelinev1.TaskRun{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       pipelinev1.TaskRunSpec{TaskRef: &pipelinev1.TaskRef{Name: name}},
		})
	}
	pods := map[string]*corev1.Pod{}
	for name, tr := range started {
		tr = c.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
		wantSucceeded(t, tr)
		pods[name] = c.pod(t, ns, tr.Status.PodName)
	}
	return pods
}

// budget runs the command in a namespace.
func (c *cluster) budget(t *testing.T, ns string, args ...string) reports.BudgetReport {
	t.Helper()
	out := c.kubectl(t, append([]string{"tekton-sign", "budget", "-n", ns, "-o", "json"}, args...)...)
	var got reports.BudgetReport
	if err := json.Unmarshal([]byte(out.stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return got
}

func itemOf(t *testing.T, r reports.BudgetReport, kind, name string) budget.Item {
	t.Helper()
	i := slices.IndexFunc(r.Items, func(i budget.Item) bool { return i.Kind == kind && i.Name == name })
	if i < 0 || r.Items[i].Fit == nil {
		t.Fatalf("budget shows nothing of %s %s", kind, name)
	}
	return r.Items[i]
}

// wantLeftAlone checks that a pod in which no step can ever sign was not injected.
func wantLeftAlone(t *testing.T, ran budget.Item, pod *corev1.Pod) {
	t.Helper()
	if got := pod.Annotations[signing.UnsignedAnnotation]; ran.State != budget.Never || ran.CanSign ||
		!strings.Contains(got, ran.Reason) {
		t.Errorf("the TaskRun is %s, because %q; the pod has the annotation %q", ran.State, ran.Reason, got)
	}
}

func wantContainers(t *testing.T, item budget.Item, pod *corev1.Pod) {
	t.Helper()
	n := len(pod.Spec.Containers) + len(pod.Spec.InitContainers)
	if item.Fit.Containers != n {
		t.Errorf("%s: %d containers, the pod has %d", item.Kind, item.Fit.Containers, n)
	}
}

// wantShare compares the number of containers, and the share that the webhook gave the signer.
func wantShare(t *testing.T, item budget.Item, pod *corev1.Pod) {
	t.Helper()
	wantContainers(t, item, pod)
	for _, container := range pod.Spec.Containers {
		i := slices.Index(container.Args, "-share")
		if tekton.IsStep(container.Name) && (i < 0 || container.Args[i+1] != fmt.Sprint(item.Fit.Share)) {
			t.Errorf("%s: share %d, the signer of %s has the arguments %q", item.Kind, item.Fit.Share, container.Name,
				container.Args)
		}
	}
}

// stepStatuses returns the status of the steps in their order.
func stepStatuses(pod *corev1.Pod) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for _, container := range pod.Spec.Containers {
		i := slices.IndexFunc(pod.Status.ContainerStatuses,
			func(s corev1.ContainerStatus) bool { return s.Name == container.Name })
		if tekton.IsStep(container.Name) && i >= 0 {
			all = append(all, pod.Status.ContainerStatuses[i])
		}
	}
	return all
}

// wantMessage compares the parts of a message with the numbers of the budget.
func wantMessage(t *testing.T, got budget.Step, status corev1.ContainerStatus) {
	t.Helper()
	text := status.State.Terminated.Message
	all, err := termination.ParseMessage(zap.NewNop().Sugar(), text)
	must(t, err)
	var internal, bare []result.RunResult
	for _, r := range all {
		if !signing.IsSignedKind(r.ResultType) {
			internal = append(internal, r)
		}
		if !signing.IsLegacyCarrier(r.Key) {
			bare = append(bare, r)
		}
	}
	overhead, without, with := plain(t, internal), plain(t, bare), plain(t, all)
	if got.Over > budgetMargin {
		if len(all) != len(bare)+1 || got.Overhead != overhead || got.Results != without-overhead {
			t.Errorf("%s: budget has %+v; the step has left %s", status.Name, got, text)
		}
		return // the reason takes the place of evidence
	}
	if got.Container != status.Name || got.Overhead != overhead || got.Results != without-overhead ||
		got.Evidence != with-without {
		t.Errorf("%s: overhead %d, results %d, evidence %d; budget has %+v", status.Name, overhead, without-overhead,
			with-without, got)
	}
	compressed := strings.HasPrefix(text, tekton.CompressedPrefix)
	off := got.Message - len(text)
	if got.Compressed != compressed || !compressed && off != 0 || off < -budgetMargin || off > budgetMargin {
		t.Errorf("%s: the message has %d bytes, compressed %v; budget has %+v", status.Name, len(text), compressed, got)
	}
	t.Logf("%s: %d bytes, budget %d, compressed %v", status.Name, len(text), got.Message, compressed)
}

// plain returns the length of a message that is not compressed.
func plain(t *testing.T, entries []result.RunResult) int {
	t.Helper()
	text, err := json.Marshal(entries)
	must(t, err)
	return len(text)
}
