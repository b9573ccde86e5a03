// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNightlyFaultsOfReceipts has things go wrong with backend receipt: no verdict is VERIFIED without a look at
// the pod, audit breaks no build, and enforce lets no result through that was not verified.
func TestNightlyFaultsOfReceipts(t *testing.T) {
	c := open(t)
	c.enableWith(t, "receipt", "--namespace-selector", selector)
	for _, f := range []fault{
		{name: "a rolling update", strike: strikeRollout, harmless: true, hammer: true},
		{name: "both replicas are killed", strike: strikeBoth},
		{name: "the API server is restarted", strike: strikeAPIServer},
		{name: "the store is slow", strike: strikeEtcd},
		{name: "the node is restarted", strike: strikeNode, interrupts: true},
	} {
		t.Run(f.name, func(t *testing.T) { f.test(t, c) })
	}
	t.Run("nobody looked in time", func(t *testing.T) { testNobodyLooked(t, c) })
}

// testNobodyLooked completes TaskRuns while there is no replica. Afterwards the pod of one is there, and the
// other's is gone.
func testNobodyLooked(t *testing.T, c *cluster) {
	audit, enforce := c.namespace(t, true), c.enforced(t)
	waiting := c.startRunning(t, enforce, sleeping("waits", 10, time.Hour))
	c.scale(t, 0)
	kept, lost := c.finish(t, audit, loadRun("kept")), c.finish(t, audit, loadRun("lost"))
	for _, tr := range []*pipelinev1.TaskRun{kept, lost} {
		wantSucceeded(t, tr)
		wantResultNames(t, tr, "digest")
	}
	c.removePod(t, audit, lost.Status.PodName)
	time.Sleep(15 * time.Second)
	if tr := c.getTaskRun(t, enforce, waiting.Name); tr.IsDone() || len(tr.Status.Results) > 0 {
		t.Errorf("TaskRun %s was completed although nobody looked at its pod: %s", tr.Name, describe(tr))
	}

	c.scale(t, 2)
	wantVerdict := func(tr *pipelinev1.TaskRun, status, verdict string) {
		t.Helper()
		tr = c.watchUntil(t, c.getTaskRun(t, tr.Namespace, tr.Name), "is judged", func(tr *pipelinev1.TaskRun) bool {
			return tr.IsDone() && tr.Status.GetCondition(conditionType) != nil &&
				!tr.Status.GetCondition(conditionType).IsUnknown()
		})
		condition := tr.Status.GetCondition(conditionType)
		if string(condition.Status) != status || !strings.HasPrefix(condition.Message, verdict) {
			t.Errorf("TaskRun %s: got %s: %s, want %s: %s", tr.Name, condition.Status, condition.Message, status, verdict)
		}
	}
	wantVerdict(kept, "True", "VERIFIED")
	wantVerdict(lost, "False", "INDETERMINATE")
	wantVerdict(waiting, "True", "VERIFIED")
	wantSucceeded(t, c.awaitDone(t, enforce, waiting.Name))
}

// removePod deletes a pod at once.
func (c *cluster) removePod(t *testing.T, ns, name string) {
	t.Helper()
	err := c.kube.CoreV1().Pods(ns).Delete(t.Context(), name, *metav1.NewDeleteOptions(0))
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
}
