// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
)

// TestNightlyOutage has no replica at all for a while, and wants of each mode what docs/operations.md says of it.
func TestNightlyOutage(t *testing.T) {
	c := open(t)
	c.enable(t)
	audit, enforce := c.namespace(t, true), c.enforced(t)
	for _, ns := range []string{audit, enforce} {
		c.startRunning(t, ns, sleeping("started-before", 10, time.Hour))
	}
	doomed := c.startRunning(t, enforce, sleeping("times-out", 10, 25*time.Second))

	c.scale(t, 0)
	t.Run("audit: TaskRuns succeed, unsigned", func(t *testing.T) {
		tr := c.finish(t, audit, loadRun("started-meanwhile"))
		wantSucceeded(t, tr)
		wantResultNames(t, tr, "digest")
		before := c.awaitDone(t, audit, "started-before")
		wantSucceeded(t, before)
		wantResultNames(t, before, "digest")
	})
	t.Run("enforce: new TaskRuns wait", func(t *testing.T) {
		// Its pod is refused, and so is the write that would say so and fail it.
		tr := c.finishOrNot(t, enforce, loadRun("started-meanwhile"), 30*time.Second)
		if tr.IsDone() || tr.Status.PodName != "" || len(tr.Status.Results) > 0 {
			t.Errorf("a TaskRun went on that nobody could verify: %s", describe(tr))
		}
	})
	t.Run("enforce: what was running is not completed", func(t *testing.T) {
		time.Sleep(15 * time.Second)
		for _, name := range []string{"started-before", "times-out"} {
			tr := c.getTaskRun(t, enforce, name)
			if tr.IsDone() || len(tr.Status.Results) > 0 {
				t.Errorf("TaskRun %s was completed although nobody verified it: %s", name, describe(tr))
			}
		}
	})
	time.Sleep(10 * time.Second)

	c.scale(t, 2)
	t.Run("enforce: all is completed and verified afterwards", func(t *testing.T) {
		for _, name := range []string{"started-before", "started-meanwhile"} {
			tr := c.awaitDone(t, enforce, name)
			wantSucceeded(t, tr)
			wantCondition(t, tr, "True", "TaskRunResultsVerified")
			wantResultNames(t, tr, "digest")
		}
	})
	t.Run("enforce: a timeout in the meantime fails it, without results", func(t *testing.T) {
		tr := c.awaitDone(t, enforce, doomed.Name)
		got := tr.Status.GetCondition(apis.ConditionSucceeded)
		if !got.IsFalse() || got.Reason != "TaskRunTimeout" || len(tr.Status.Results) > 0 {
			t.Errorf("want a TaskRun that timed out, without results: %s", describe(tr))
		}
	})
	c.wantServing(t, audit, enforce)
	t.Run("break-glass", func(t *testing.T) { testBreakGlass(t, c, enforce) })
}

// testBreakGlass makes enforcement stop with the one command that works without the add-on, and has enable put it back.
func testBreakGlass(t *testing.T, c *cluster, ns string) {
	c.scale(t, 0)
	waiting := c.finishOrNot(t, ns, loadRun("before-the-glass"), 20*time.Second)
	if waiting.IsSuccessful() {
		t.Fatalf("enforcement was not in force: %s", describe(waiting))
	}
	c.mustKubectl(t, "delete", "mutatingwebhookconfigurations", "-l", partOf)
	tr := c.finish(t, ns, loadRun("after-the-glass"))
	wantSucceeded(t, tr)
	wantResultNames(t, tr, "digest")
	if tr.Status.GetCondition(conditionType).IsTrue() {
		t.Errorf("a TaskRun that nobody judged is said to be verified: %s", describe(tr))
	}
	if out := c.kubectl(t, enableArgs("--yes")...); out.code != 0 {
		t.Fatalf("enable: %s", out)
	}
	c.awaitReplicas(t)
	again := c.finish(t, ns, loadRun("with-new-glass"))
	wantSucceeded(t, again)
	wantCondition(t, again, "True", "TaskRunResultsVerified")
}

// sleeping is a TaskRun whose step takes so many seconds.
func sleeping(name string, seconds int, timeout time.Duration) *pipelinev1.TaskRun {
	tr := loadRun(name)
	tr.Spec.Timeout = &metav1.Duration{Duration: timeout}
	script := &tr.Spec.TaskSpec.Steps[0].Args[0]
	*script = strings.Replace(*script, "sleep 1;", fmt.Sprintf("sleep %d;", seconds), 1)
	return tr
}

// startRunning starts a TaskRun and waits until its step runs.
func (c *cluster) startRunning(t *testing.T, ns string, tr *pipelinev1.TaskRun) *pipelinev1.TaskRun {
	t.Helper()
	return c.watchUntil(t, c.start(t, ns, tr), "runs", func(tr *pipelinev1.TaskRun) bool {
		return len(tr.Status.Steps) == 1 && tr.Status.Steps[0].Running != nil
	})
}

// finishOrNot starts a TaskRun and returns it when it is done, or as it is when the time is over.
func (c *cluster) finishOrNot(t *testing.T, ns string, tr *pipelinev1.TaskRun,
	atMost time.Duration) *pipelinev1.TaskRun {
	t.Helper()
	c.start(t, ns, tr)
	got := tr
	for deadline := time.Now().Add(atMost); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if got = c.getTaskRun(t, ns, tr.Name); got.IsDone() {
			break
		}
	}
	return got
}
