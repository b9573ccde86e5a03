// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// TestNightlyLarge has TaskRuns emit as much as the API server stores of one object, and a little less. In audit each
// completes with its result; in enforce one that has no room for its verdict fails without it. What cannot be recorded
// is given up, and said once.
func TestNightlyLarge(t *testing.T) {
	c := open(t)
	c.enable(t)
	s := newReplaySuite(t, c)
	s.allowLogs(t)
	s.setFeatures(t, map[string]string{"results-from": "sidecar-logs", "max-result-size": "1572863"})
	audited, enforced := c.namespace(t, true), c.enforced(t)
	given := map[string]*pipelinev1.TaskRun{}
	for _, bytes := range []int{1_560_000, 1_567_000, 1_568_300, 1_569_900} {
		tr := c.finish(t, audited, large(bytes))
		wantSucceeded(t, tr)
		if len(tr.Status.Results) == 0 || len(tr.Status.Results[0].Value.StringVal) != bytes {
			t.Errorf("%d bytes: the result has not arrived", bytes)
		}
		judged := tr.Status.GetCondition(verify.ConditionType)
		switch {
		case bytes < 1_568_000 && !judged.IsTrue():
			t.Errorf("%d bytes: condition %+v", bytes, judged)
		case bytes > 1_568_000 && judged != nil:
			t.Errorf("%d bytes: condition %+v where there is no room for one", bytes, judged)
		}
		if bytes > 1_560_000 {
			given[tr.Name] = tr
		}
	}
	c.recorded(t, &pipelinev1.TaskRun{ObjectMeta: metav1.ObjectMeta{Namespace: audited, Name: "bytes-1560000"}})
	testLargeEnforced(t, c, enforced)
	testGivenUp(t, c, given)
}

// large is a TaskRun whose result has so many bytes.
func large(bytes int) *pipelinev1.TaskRun {
	tr := emitting(fmt.Sprintf("bytes-%d", bytes), "", "", 1)
	tr.Spec.TaskSpec.Steps[0].Command = []string{
		"sh", "-c", fmt.Sprintf("head -c %d /dev/zero | tr '\\000' x > $(results.report.path)", bytes),
	}
	return tr
}

func testLargeEnforced(t *testing.T, c *cluster, ns string) {
	began := time.Now()
	tr := c.finish(t, ns, large(1_568_300))
	took := time.Since(began)
	succeeded := tr.Status.GetCondition(apis.ConditionSucceeded)
	if !succeeded.IsFalse() || !strings.Contains(succeeded.Message, "too large: the TaskRun takes 15") ||
		len(tr.Status.Results) != 0 {
		t.Errorf("Succeeded is %+v, with %d results", succeeded, len(tr.Status.Results))
	}
	if took > time.Minute {
		t.Errorf("it took %s", took)
	}
	wantCondition(t, tr, "False", "TaskRunResultsVerificationFailed")
	c.recorded(t, tr)
	wantSucceeded(t, c.finish(t, ns, large(1_500_000)))
}

// testGivenUp waits for the event of each TaskRun, and has the add-on look at everything again: nothing more is said,
// and nothing is an error.
func testGivenUp(t *testing.T, c *cluster, given map[string]*pipelinev1.TaskRun) {
	const reason = "Warning TaskRunResultsCannotBeRecorded: "
	for name, tr := range given {
		c.eventually(t, "the event of TaskRun "+name, func(context.Context) (bool, error) {
			return len(c.eventsOf(t, tr)) > 0, nil
		})
	}
	time.Sleep(15 * time.Second) // a failure would be tried again by now
	for name, tr := range given {
		told := c.eventsOf(t, tr)
		of := slices.DeleteFunc(slices.Clone(told), func(event string) bool { return !strings.HasPrefix(event, reason) })
		// that one has no evidence any more, which may be said
		if len(of) != 1 || tr.Name != "bytes-1569900" && len(told) != 1 {
			t.Errorf("TaskRun %s: events %q", name, told)
		}
		for line := range strings.Lines(c.addOnLogs(t)) {
			if strings.Contains(line, name) && strings.Contains(line, `"severity":"error"`) {
				t.Errorf("TaskRun %s: %s", name, line)
			}
		}
	}
}
