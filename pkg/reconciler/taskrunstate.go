// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// taskRunState decides whether a TaskRun waits for a verdict or a record. A field of a wrong type counts as empty,
// so that the author of one status cannot stop the work on others.
type taskRunState struct {
	succeeded condition
	ours      condition
	verdicts  int // conditions of our type
	record    string
	seal      string
	hasPod    bool
	hasRun    bool // there is a trace of a pod
	foreign   bool // another controller's
}

// condition is the part of a condition that is read.
type condition struct{ status, reason, message string }

func stateOf(taskRun *unstructured.Unstructured) taskRunState {
	spec, _ := taskRun.Object["spec"].(map[string]any)
	status, _ := taskRun.Object["status"].(map[string]any)
	s := taskRunState{record: mark(status, record.Annotation), seal: mark(status, seal.Annotation)}
	s.hasPod = status["podName"] != nil && status["podName"] != ""
	s.hasRun = hasRun(status)
	attempts, _ := status["retriesStatus"].([]any)
	for _, a := range attempts {
		attempt, _ := a.(map[string]any)
		nested, _ := attempt["retriesStatus"].([]any)
		s.hasRun = s.hasRun || hasRun(attempt) || len(nested) > 0
	}
	if by, ok := spec["managedBy"].(string); ok && by != verify.TektonController {
		s.foreign = true
	}
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		fields, _ := c.(map[string]any)
		kind, _ := fields["type"].(string)
		var found condition
		found.status, _ = fields["status"].(string)
		found.reason, _ = fields["reason"].(string)
		found.message, _ = fields["message"].(string)
		switch {
		case kind == string(apis.ConditionSucceeded) && s.succeeded == condition{}:
			s.succeeded = found
		case kind == string(verify.ConditionType):
			s.verdicts++
			s.ours = found
		}
	}
	return s
}

// mark returns an annotation of the status that belongs to the add-on. A value that is not a string counts as
// present.
func mark(status map[string]any, key string) string {
	annotations, _ := status["annotations"].(map[string]any)
	value, present := annotations[key]
	text, ok := value.(string)
	if present && !ok {
		return "no text"
	}
	return text
}

// hasRun reports whether there is a trace of a pod, as in the status webhook.
func hasRun(status map[string]any) bool {
	if status["podName"] != nil && status["podName"] != "" {
		return true
	}
	for _, field := range []string{"steps", "results"} {
		if list, ok := status[field].([]any); ok && len(list) > 0 {
			return true
		}
	}
	artifacts, _ := status["artifacts"].(map[string]any)
	return len(artifacts) > 0
}

// complete reports whether the TaskRun has succeeded or failed.
func (s taskRunState) complete() bool { return decided(s.succeeded.status) }

func decided(status string) bool {
	return status == string(corev1.ConditionTrue) || status == string(corev1.ConditionFalse)
}

// judged reports whether the status has exactly one condition of the add-on's type with a verdict.
func (s taskRunState) judged() bool { return s.verdicts == 1 && decided(s.ours.status) }

// claims reports whether something in the status claims to be a verdict.
func (s taskRunState) claims() bool {
	awaited := s.verdicts == 1 && s.ours.status == string(corev1.ConditionUnknown)
	return s.verdicts > 0 && !awaited || s.record != "" || s.seal != ""
}

// task is what to do about a TaskRun.
type task int

const (
	nothing task = iota
	ask          // the status webhook
	write        // the record
)

// todo returns what to do about a TaskRun, and what its seal contains. A verdict is the add-on's if a matching seal
// proves it, or a record with the same verdict. A record is the add-on's if the seal names it.
func (r *Records) todo(ctx context.Context, taskRun *unstructured.Unstructured) (task, seal.Facts) {
	s := stateOf(taskRun)
	switch {
	case s.foreign || !s.complete():
		if s.claims() && (s.foreign || s.verdicts > 0) {
			return ask, seal.Facts{} // it goes
		}
		return nothing, seal.Facts{}
	case !s.hasRun && !s.claims() || r.hopeless.has(taskRun):
		return nothing, seal.Facts{}
	}
	if found, err := r.opened(taskRun, s); err == nil {
		none := found.Verdict == string(verify.NoResults) && s.verdicts == 0 && s.record == ""
		if none || s.record != "" && found.Record == seal.RecordDigest(s.record) {
			return nothing, found
		}
		return write, found
	}
	if s.judged() && s.record != "" && r.isRecorded(ctx, taskRun, s) {
		return nothing, seal.Facts{}
	}
	return ask, seal.Facts{}
}

// failure describes what is wrong, in the words of the condition if there is one.
func (s taskRunState) failure(r verify.Result) string {
	if s.ours.status == string(corev1.ConditionFalse) && s.ours.message != "" {
		return s.ours.message
	}
	return fmt.Sprintf("%s: %s: %s", r.Verdict, r.Reason, r.Message)
}

// replacedBy describes what happened to a verdict that was not the add-on's.
func (s taskRunState) replacedBy(after taskRunState) string {
	was, now := "no condition "+string(verify.ConditionType), "none is due"
	if s.verdicts > 0 {
		was = fmt.Sprintf("%s=%s", verify.ConditionType, s.ours.status)
	}
	if after.verdicts > 0 {
		now = fmt.Sprintf("%s=%s: %s", verify.ConditionType, after.ours.status, after.ours.message)
	}
	return fmt.Sprintf("nothing proved that the verdict in the status is the add-on's: "+
		"expected its seal, got %s without one that fits; now %s",
		was, now)
}

// Reasons, for metrics, of TaskRuns that usually have no evidence, or less than they should.
const (
	reasonCancelled = "cancelled"
	reasonTimedOut  = "timed-out"
	reasonNoPod     = "no-pod"
)

// counted is the result for metrics: if a TaskRun ended early, that is the reason why it is not signed. A FAILED one
// stays FAILED.
func counted(r verify.Result, s taskRunState) verify.Result {
	early := r.Verdict == verify.Unsigned || r.Verdict == verify.Indeterminate
	switch {
	case !early || s.succeeded.status != string(corev1.ConditionFalse):
	case s.succeeded.reason == v1.TaskRunReasonCancelled.String():
		r.Reason = reasonCancelled
	case s.succeeded.reason == v1.TaskRunReasonTimedOut.String():
		r.Reason = reasonTimedOut
	case !s.hasPod:
		r.Reason = reasonNoPod
	}
	return r
}
