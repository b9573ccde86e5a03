// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/objectsize"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// maxTaskRuns is how many TaskRuns are read. The API server lists them by namespace and name, not by age.
const maxTaskRuns = 2000

// Verdicts are the verdicts on completed TaskRuns.
type Verdicts struct {
	Found *status.Verdicts // nil: not asked for, or Err is set
	Large []string         // TaskRuns that are too large to be recorded
	Err   error
}

// checkVerdicts warns of TaskRuns that did not verify.
func checkVerdicts(_ context.Context, c *Cluster) []status.Check {
	v := c.Verdicts
	if v.Err != nil {
		return one(Unreadable(status.PartVerdicts, status.CheckVerdicts, "the TaskRuns of all namespaces", v.Err))
	}
	var found []status.Check
	if len(v.Large) > 0 {
		found = append(found, status.Check{
			Part: status.PartVerdicts, ID: status.CheckVerdicts, Status: verify.Warn,
			Message: "TaskRuns too large for a verdict or a record: " +
				strings.Join(v.Large[:min(len(v.Large), maxLarge)], ", "),
			Next: "kubectl get events -A --field-selector reason=" + manifests.EventNotRecorded +
				" shows what refused them; pass large values by a workspace",
		})
	}
	if v.Found != nil && v.Found.Failed > 0 {
		found = append(found, status.Check{
			Part: status.PartVerdicts, ID: status.CheckVerdicts, Status: verify.Warn,
			Message: fmt.Sprintf("TaskRuns that did not verify: %d", v.Found.Failed),
			Next:    c.Options.Program + " verify taskrun/NAME -n NAMESPACE tells more",
		})
	}
	return found
}

// maxLarge is how many of them are named.
const maxLarge = 5

// isLarge reports whether a completed TaskRun has no record and is so large that it cannot get one.
func (c *Cluster) isLarge(tr *unstructured.Unstructured) bool {
	succeeded, completed := conditionOf(tr, "Succeeded")
	recorded, _, _ := unstructured.NestedString(tr.Object, "status", "annotations", record.Annotation)
	if !c.InScope(tr.GetNamespace()) || !completed || succeeded.Status == corev1.ConditionUnknown || recorded != "" {
		return false
	}
	raw, err := tr.MarshalJSON()
	return err == nil && objectsize.Unreviewable(len(raw))
}

// taskRuns is the resource of Tekton's TaskRuns.
func taskRuns() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "taskruns"}
}

// readVerdicts reads the conditions of TaskRuns, page by page.
func (c *Cluster) readVerdicts(ctx context.Context) Verdicts {
	found := &status.Verdicts{}
	var large []string
	options := metav1.ListOptions{Limit: listPage}
	for {
		page, err := c.Clients.Dynamic.Resource(taskRuns()).List(ctx, options)
		if err != nil {
			return Verdicts{Err: err}
		}
		for i := range page.Items {
			if found.Looked == maxTaskRuns {
				break
			}
			found.Looked++
			if c.isLarge(&page.Items[i]) {
				large = append(large, page.Items[i].GetNamespace()+"/"+page.Items[i].GetName())
			}
			c.addVerdict(found, &page.Items[i])
		}
		options.Continue = page.GetContinue()
		if found.Looked == maxTaskRuns || options.Continue == "" {
			found.More = options.Continue != ""
			return Verdicts{Found: found, Large: large}
		}
	}
}

// addVerdict counts a TaskRun that is completed and in scope, and keeps it if it is one of the newest.
func (c *Cluster) addVerdict(found *status.Verdicts, tr *unstructured.Unstructured) {
	if !c.InScope(tr.GetNamespace()) {
		return
	}
	succeeded, completed := conditionOf(tr, "Succeeded")
	if !completed || succeeded.Status == corev1.ConditionUnknown {
		return
	}
	cond, judged := conditionOf(tr, string(verify.ConditionType))
	if !judged || cond.Status == corev1.ConditionUnknown {
		found.NotJudged++
		return
	}
	v := status.Verdict{
		Namespace: tr.GetNamespace(), Name: tr.GetName(),
		Verdict: verdictOf(cond), At: succeeded.LastTransitionTime, Message: cond.Message,
	}
	found.Add(v.Verdict)
	at, _ := slices.BinarySearchFunc(found.Newest, v, func(a, b status.Verdict) int { return b.At.Compare(a.At) })
	found.Newest = slices.Insert(found.Newest, at, v)
	found.Newest = found.Newest[:min(len(found.Newest), c.Options.Verdicts)]
}

// taskRunCondition is what is read of a condition.
type taskRunCondition struct {
	Status             corev1.ConditionStatus
	Message            string
	LastTransitionTime time.Time
}

// conditionOf returns a condition of a TaskRun.
func conditionOf(tr *unstructured.Unstructured, kind string) (taskRunCondition, bool) {
	list, _, _ := unstructured.NestedSlice(tr.Object, "status", "conditions")
	for _, item := range list {
		fields, ok := item.(map[string]any)
		if !ok || fields["type"] != kind {
			continue
		}
		text := func(name string) string { s, _ := fields[name].(string); return s }
		at, _ := time.Parse(time.RFC3339, text("lastTransitionTime"))
		return taskRunCondition{
			Status: corev1.ConditionStatus(text("status")), Message: text("message"), LastTransitionTime: at,
		}, true
	}
	return taskRunCondition{}, false
}

// verdictOf returns the verdict with which the message of the condition begins. A condition that the add-on does not
// write counts as FAILED.
func verdictOf(cond taskRunCondition) verify.Verdict {
	word, _, _ := strings.Cut(cond.Message, ":")
	verdict := verify.Verdict(word)
	if cond.Status == corev1.ConditionTrue && verdict == verify.Verified {
		return verdict
	}
	if cond.Status == corev1.ConditionFalse && (verdict == verify.Unsigned || verdict == verify.Indeterminate) {
		return verdict
	}
	return verify.Failed
}
