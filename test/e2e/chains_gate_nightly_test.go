// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
)

// history is what a namespace's TaskRuns looked like, in order.
type history struct {
	mu      sync.Mutex
	events  map[string][]*pipelinev1.TaskRun // by name
	deleted map[string]bool
}

// record follows the TaskRuns of a namespace until the test ends.
func (c *cluster) record(t *testing.T, ns string) *history {
	t.Helper()
	h := &history{events: map[string][]*pipelinev1.TaskRun{}, deleted: map[string]bool{}}
	w, err := c.tekton.TektonV1().TaskRuns(ns).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	go func() {
		for e := range w.ResultChan() {
			tr, ok := e.Object.(*pipelinev1.TaskRun)
			if !ok {
				continue
			}
			h.mu.Lock()
			h.events[tr.Name] = append(h.events[tr.Name], tr)
			h.deleted[tr.Name] = e.Type == watch.Deleted
			h.mu.Unlock()
		}
	}()
	return h
}

func (h *history) of(name string) ([]*pipelinev1.TaskRun, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events[name], h.deleted[name]
}

// wantHeldToTheEnd wants a TaskRun that was held when it was complete for the first time, and of which Chains
// signed nothing before it was verified.
func wantHeldToTheEnd(t *testing.T, h *history, name string) {
	t.Helper()
	events, _ := h.of(name)
	done := false
	for _, tr := range events {
		state, _ := gateOf(tr)
		if tr.IsDone() && !done {
			done = true
			if state != chains.Held || tr.Annotations[chains.Hold] != chains.HoldValue {
				t.Errorf("TaskRun %s was completed in state %q: %s", name, state, describe(tr))
			}
		}
		if payload(t, tr) != "" && !tr.Status.GetCondition(conditionType).IsTrue() {
			t.Errorf("TaskRun %s was attested unverified: %s", name, describe(tr))
		}
	}
	if !done {
		t.Errorf("TaskRun %s was not seen to be complete in %d events", name, len(events))
	}
}

// testQuick runs twenty short TaskRuns at a time. Every second one is not signed.
func testQuick(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	h := c.record(t, ns)
	var good, bad []*pipelinev1.TaskRun
	for range 20 {
		good = append(good, c.start(t, ns, fixture(t, "quick")))
		bad = append(bad, c.start(t, ns, withoutToken(fixture(t, "quick"))))
	}
	for i := range good {
		c.attested(t, good[i])
		c.refused(t, bad[i])
	}
	for i := range good {
		c.neverAttestedNow(t, bad[i])
		wantHeldToTheEnd(t, h, good[i].Name)
		wantHeldToTheEnd(t, h, bad[i].Name)
	}
}

func (c *cluster) neverAttestedNow(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	got, err := c.tekton.TektonV1().TaskRuns(tr.Namespace).Get(t.Context(), tr.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if payload(t, got) != "" {
		t.Errorf("Chains has signed: %s", describe(got))
	}
}

// scaleDeployment gives a Deployment so many replicas, and returns when they are there.
func (c *cluster) scaleDeployment(t *testing.T, namespace, deployment string, replicas int) {
	t.Helper()
	c.mustKubectl(t, "scale", "deployment", deployment, "-n", namespace, fmt.Sprintf("--replicas=%d", replicas))
	c.eventually(t, fmt.Sprintf("%d pods of %s", replicas, deployment), func(ctx context.Context) (bool, error) {
		d, err := c.kube.AppsV1().Deployments(namespace).Get(ctx, deployment, metav1.GetOptions{})
		if err != nil || int(d.Status.Replicas) != replicas || int(d.Status.AvailableReplicas) != replicas {
			return false, err
		}
		pods, err := c.kube.CoreV1().Pods(namespace).List(ctx,
			metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
		return err == nil && len(pods.Items) == replicas, err
	})
}

// testDeletedHeld completes a TaskRun while the add-on is away, so that nobody judges it, and deletes it then. It
// stays until the add-on is back, is attested, and goes.
func testDeletedHeld(t *testing.T, c *cluster) {
	const namespace, deployment = "tekton-sign", "tekton-sign-controller"
	ns := c.namespace(t, true)
	h := c.record(t, ns)
	tr := c.taskRun(t, c.start(t, ns, fixture(t, "slow")), "running", isRunning)
	c.held(t, tr)
	d, err := c.kube.AppsV1().Deployments(namespace).Get(t.Context(), deployment, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.scaleDeployment(t, namespace, deployment, 0)
	c.end(t, tr)
	c.taskRun(t, tr, "done", (*pipelinev1.TaskRun).IsDone)
	c.mustKubectl(t, "delete", "taskrun", tr.Name, "-n", ns, "--wait=false")
	c.neverAttested(t, tr)
	c.scaleDeployment(t, namespace, deployment, int(*d.Spec.Replicas))
	c.eventually(t, "TaskRun "+tr.Name+" to go", func(ctx context.Context) (bool, error) {
		_, err := c.tekton.TektonV1().TaskRuns(ns).Get(ctx, tr.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
	events, deleted := h.of(tr.Name)
	last := events[len(events)-1]
	if !deleted || !isAttested(t, last) || !last.Status.GetCondition(conditionType).IsTrue() {
		t.Errorf("it went without an attestation, deleted %v: %s", deleted, describe(last))
	}
	wantHeldToTheEnd(t, h, tr.Name)
}

// testCompletedUnheld takes the webhook away that places the hold in the first write. Then the write that completes
// a TaskRun or PipelineRun is refused once, and Tekton makes it again.
func testCompletedUnheld(t *testing.T, c *cluster) {
	t.Cleanup(func() {
		if out := c.kubectlUntil(context.Background(), t, "", enableArgs("--yes", "--gate-chains")...); out.code != 0 {
			t.Errorf("enable: %s", out)
		}
	})
	c.mustKubectl(t, "patch", "mutatingwebhookconfiguration", "tekton-sign-chains", "--type=json", "-p",
		`[{"op":"test","path":"/webhooks/0/name","value":"hold.chains.tekton-sign.dev"},`+
			`{"op":"remove","path":"/webhooks/0"}]`)
	time.Sleep(2 * time.Second) // API servers learn of it
	ns, enforce := c.namespace(t, true), c.enforced(t)
	h, he := c.record(t, ns), c.record(t, enforce)
	for range 3 {
		good := c.start(t, ns, fixture(t, "quick"))
		bad := c.start(t, ns, withoutToken(fixture(t, "quick")))
		enforced := c.start(t, enforce, fixture(t, "quick"))
		c.attested(t, good)
		c.attested(t, enforced)
		c.neverAttestedNow(t, c.refused(t, bad))
		wantHeldToTheEnd(t, h, good.Name)
		wantHeldToTheEnd(t, h, bad.Name)
		wantHeldToTheEnd(t, he, enforced.Name)
		if events, _ := h.of(good.Name); len(events) > 1 && gateIs(events[1], chains.Held) {
			t.Errorf("TaskRun %s was held by its first write: the test shows nothing", good.Name)
		}
	}
	pr, err := c.tekton.TektonV1().PipelineRuns(ns).Create(t.Context(), pipelineRun(t, "attested"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.pipelineRunUntil(t, pr, "attested", func(pr *pipelinev1.PipelineRun) bool {
		return isAttested(t, pr) &&
			gateIs(pr, chains.Released)
	})
}

func gateIs(o metav1.Object, want chains.State) bool {
	state, _ := gateOf(o)
	return state == want
}

// testGateOff turns the gate off, and signing altogether, while TaskRuns are held: with the add-on, and when it is
// gone. What was refused stays refused.
func testGateOff(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	refused := c.refused(t, c.start(t, ns, withoutToken(fixture(t, "quick"))))
	free := func(tr *pipelinev1.TaskRun) {
		t.Helper()
		got, err := c.tekton.TektonV1().TaskRuns(ns).Get(t.Context(), tr.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, hold := got.Annotations[chains.Hold]
		if _, mark := got.Annotations[chains.Marker]; hold || mark || hasFinalizer(got) {
			t.Errorf("still held: %s", describe(got))
		}
		c.mustKubectl(t, "delete", "taskrun", tr.Name, "-n", ns, "--timeout=30s")
	}

	first := c.held(t, c.start(t, ns, fixture(t, "slow")))
	out := c.gate(t, false)
	if want := "lift TaskRun"; !strings.Contains(strings.Join(strings.Fields(out.stdout), " "), want) {
		t.Errorf("the plan does not say %q: %s", want, out)
	}
	free(first)
	unsigned := c.start(t, ns, withoutToken(fixture(t, "quick")))
	unsigned = c.taskRun(t, unsigned, "attested without the gate", func(tr *pipelinev1.TaskRun) bool {
		return isAttested(t, tr) && gateIs(tr, chains.None)
	})
	wantCondition(t, unsigned, "False", "TaskRunResultsVerificationFailed") // which is what the gate is there for

	c.gate(t, true)
	second := c.held(t, c.start(t, ns, fixture(t, "slow")))
	c.mustKubectl(t, "delete", "deployment", "tekton-sign-controller", "-n", "tekton-sign")
	if out := c.kubectl(t, "tekton-sign", "disable", "--purge", "--yes"); out.code != 0 {
		t.Fatalf("disable: %s", out)
	}
	free(second)
	c.neverAttested(t, refused)
}
