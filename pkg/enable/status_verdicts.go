// SPDX-License-Identifier: Apache-2.0

package enable

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
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// maxTaskRuns is how many TaskRuns are looked at. The API server lists them by namespace and name, not by age.
const maxTaskRuns = 2000

// taskRuns are Tekton's TaskRuns.
func taskRuns() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "taskruns"}
}

// verdicts collects those that the conditions of completed TaskRuns tell, page by page.
func (l *look) verdicts(ctx context.Context) {
	if l.options.Verdicts == 0 {
		return
	}
	found := &status.Verdicts{}
	options := metav1.ListOptions{Limit: listPage}
	for {
		page, err := l.Dynamic.Resource(taskRuns()).List(ctx, options)
		if err != nil {
			l.unreadable(status.PartVerdicts, status.CheckVerdicts, "the TaskRuns of all namespaces", err)
			return
		}
		for i := range page.Items {
			if found.Looked == maxTaskRuns {
				break
			}
			found.Looked++
			l.verdict(found, &page.Items[i])
		}
		options.Continue = page.GetContinue()
		if found.Looked == maxTaskRuns || options.Continue == "" {
			found.More = options.Continue != ""
			break
		}
	}
	l.status.Verdicts = found
	if len(l.large) > 0 {
		l.add(status.Check{
			Part: status.PartVerdicts, ID: status.CheckVerdicts, Status: verify.Warn,
			Message: "TaskRuns too large for a verdict or a record: " + fewOf(l.large),
			Next: "kubectl get events -A --field-selector reason=" + manifests.EventNotRecorded +
				" shows what refused them; pass large values by a workspace",
		})
	}
	if found.Failed > 0 {
		l.add(status.Check{
			Part: status.PartVerdicts, ID: status.CheckVerdicts, Status: verify.Warn,
			Message: fmt.Sprintf("TaskRuns that did not verify: %d", found.Failed),
			Next:    l.options.Program + " verify taskrun/NAME -n NAMESPACE tells more",
		})
	}
}

// verdict counts a TaskRun that is completed and in scope, and keeps it if it is one of the newest.
func (l *look) verdict(found *status.Verdicts, tr *unstructured.Unstructured) {
	if !l.inScope(tr.GetNamespace()) {
		return
	}
	succeeded, completed := conditionOf(tr, "Succeeded")
	if !completed || succeeded.Status == corev1.ConditionUnknown {
		return
	}
	if isLarge(tr) {
		l.large = append(l.large, tr.GetNamespace()+"/"+tr.GetName())
	}
	cond, judged := conditionOf(tr, string(verify.ConditionType))
	if !judged || cond.Status == corev1.ConditionUnknown {
		found.NotJudged++
		return
	}
	v := status.Verdict{
		Namespace: tr.GetNamespace(), Name: tr.GetName(), Verdict: verdictOf(cond), At: succeeded.LastTransitionTime, Message: cond.Message,
	}
	found.Add(v.Verdict)
	at, _ := slices.BinarySearchFunc(found.Newest, v, func(a, b status.Verdict) int { return b.At.Compare(a.At) })
	found.Newest = slices.Insert(found.Newest, at, v)
	found.Newest = found.Newest[:min(len(found.Newest), l.options.Verdicts)]
}

// isLarge reports whether a TaskRun has no record and is so large that it cannot get one.
func isLarge(tr *unstructured.Unstructured) bool {
	if recorded, _, _ := unstructured.NestedString(tr.Object, "status", "annotations", record.Annotation); recorded != "" {
		return false
	}
	raw, err := tr.MarshalJSON()
	return err == nil && objectsize.Unreviewable(len(raw))
}

// inScope reports whether a namespace is in scope, and yes where that is not known.
func (l *look) inScope(name string) bool {
	if !l.known || !l.listed {
		return true
	}
	return slices.ContainsFunc(l.namespaces, func(ns knownNamespace) bool { return ns.name == name && ns.inScope })
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

// verdictOf returns the verdict that a condition tells: its message begins with it. One that is not the add-on's counts as
// FAILED.
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
