// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// completed returns a TaskRun that completed some minutes ago. Without a message it has no verdict.
func completed(
	in *installed, namespace, name string, minutes int, conditionStatus, message string,
) *unstructured.Unstructured {
	at := in.now.Add(-time.Duration(minutes) * time.Minute).Format(time.RFC3339)
	conditions := []any{map[string]any{"type": "Succeeded", "status": "True", "lastTransitionTime": at}}
	if message != "" {
		conditions = append(conditions, map[string]any{"type": "SignedResultsVerified", "status": conditionStatus,
			"message": message, "lastTransitionTime": at})
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": conditions}}}
	u.SetAPIVersion("tekton.dev/v1")
	u.SetKind("TaskRun")
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

func TestStatusVerdicts(t *testing.T) {
	in := newInstalled(t, nil)
	running := completed(in, "ci", "running", 0, "", "")
	running.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Succeeded",
		"status": "Unknown"}}}
	in.runs = []*unstructured.Unstructured{
		running,
		completed(in, "ci", "oldest", 50, "True", "VERIFIED: 1 result"),
		completed(in, "ci", "newest", 1, "False", "FAILED: results\x1b[2K"),
		completed(in, "ci", "unsigned", 20, "False", "UNSIGNED: coverage"),
		completed(in, "release", "gone", 30, "False", "INDETERMINATE: pod"),
		completed(in, "ci", "forged", 40, "True", "trust me"),
		completed(in, "ci", "before", 60, "", ""),
		completed(in, "ci", "awaiting", 2, "Unknown", "the TaskRun is not completed"),
		completed(in, "other", "elsewhere", 3, "True", "VERIFIED: 1 result"),
	}
	s := in.status(3)
	want := &status.Verdicts{
		Looked: 9, Verified: 1, Failed: 2, Unsigned: 1, Indeterminate: 1, NotJudged: 2,
		Newest: []status.Verdict{
			{
				Namespace: "ci", Name: "newest", Verdict: verify.Failed, At: in.now.Add(-time.Minute),
				Message: "FAILED: results\x1b[2K",
			},
			{
				Namespace: "ci", Name: "unsigned", Verdict: verify.Unsigned, At: in.now.Add(-20 * time.Minute),
				Message: "UNSIGNED: coverage",
			},
			{
				Namespace: "release", Name: "gone", Verdict: verify.Indeterminate, At: in.now.Add(-30 * time.Minute),
				Message: "INDETERMINATE: pod",
			},
		},
	}
	if diff := cmp.Diff(want, s.Verdicts); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if s.Outcome != status.Warnings || !strings.Contains(amiss(s.Checks),
		"warn verdicts: TaskRuns that did not verify: 2") {
		t.Errorf("got %s:\n%s", s.Outcome, amiss(s.Checks))
	}
	if s := in.status(0); s.Verdicts != nil || s.Outcome != status.Healthy {
		t.Errorf("without verdicts: got %s and %+v", s.Outcome, s.Verdicts)
	}
	large := completed(in, "ci", "large", 4, "", "")
	large.SetAnnotations(map[string]string{"pad": strings.Repeat("x", 1_567_000)})
	in.runs = []*unstructured.Unstructured{large}
	if s := in.status(3); amiss(s.Checks) != "warn verdicts: TaskRuns too large for a verdict or a record: ci/large\n" {
		t.Errorf("got %s:\n%s", s.Outcome, amiss(s.Checks))
	}
	in.forbid("list", "taskruns")
	if s := in.status(3); s.Outcome != status.Unknown ||
		!strings.Contains(amiss(s.Checks), "you may not read the TaskRuns of all namespaces") {
		t.Errorf("forbidden: got %s:\n%s", s.Outcome, amiss(s.Checks))
	}
}

// Only a limited number of TaskRuns is read, and the report shows that there are more.
func TestStatusVerdictsCapped(t *testing.T) {
	in := newInstalled(t, nil)
	asked := 0
	in.spoil = func(c fakeClients) {
		c.dynamic.PrependReactor("list", "taskruns", func(clienttesting.Action) (bool, runtime.Object, error) {
			asked++
			page := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "tekton.dev/v1", "kind": "TaskRunList"}}
			for i := range listPage {
				page.Items = append(page.Items, *completed(in, "ci", fmt.Sprintf("r-%d-%d", asked, i), i, "True",
					"VERIFIED: 1 result"))
			}
			page.SetContinue("more")
			return true, page, nil
		})
	}
	got := in.status(2).Verdicts
	if got.Looked != maxTaskRuns || !got.More || got.Verified != maxTaskRuns || len(got.Newest) != 2 ||
		asked != maxTaskRuns/listPage {
		t.Errorf("looked at %d in %d pages, more %v, %d verified, %d shown", got.Looked, asked, got.More, got.Verified,
			len(got.Newest))
	}
}
