// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// taskRunState is what decides whether a TaskRun waits for a verdict or a record. What is of another type than it should be is
// empty: whoever may write a status must not be able to stop the work on others.
type taskRunState struct {
	succeeded condition
	ours      condition
	verdicts  int // conditions of our type
	record    string
	hasRun    bool // there is a trace of a pod
	foreign   bool // another controller's
}

// condition is what is looked at in a condition.
type condition struct{ status, message string }

func stateOf(taskRun *unstructured.Unstructured) taskRunState {
	spec, _ := taskRun.Object["spec"].(map[string]any)
	status, _ := taskRun.Object["status"].(map[string]any)
	annotations, _ := status["annotations"].(map[string]any)
	s := taskRunState{hasRun: status["podName"] != nil && status["podName"] != ""}
	s.record, _ = annotations[record.Annotation].(string)
	if by, ok := spec["managedBy"].(string); ok && by != verify.TektonController {
		s.foreign = true
	}
	for _, field := range []string{"steps", "results", "retriesStatus"} {
		if list, ok := status[field].([]any); ok && len(list) > 0 {
			s.hasRun = true
		}
	}
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		fields, _ := c.(map[string]any)
		kind, _ := fields["type"].(string)
		var found condition
		found.status, _ = fields["status"].(string)
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

// complete reports whether the TaskRun has succeeded or failed.
func (s taskRunState) complete() bool { return decided(s.succeeded.status) }

func decided(status string) bool {
	return status == string(corev1.ConditionTrue) || status == string(corev1.ConditionFalse)
}

// judged reports whether the status carries one condition of ours that holds a verdict.
func (s taskRunState) judged() bool { return s.verdicts == 1 && decided(s.ours.status) }

// open reports whether there is something to do: the TaskRun is completed, ran a pod of Tekton's, and has no verdict, or no
// record that can be read. A record that can be read stays: where the TaskRun is no longer what was recorded, somebody changed
// it, and verification says so.
func (s taskRunState) open() bool {
	if !s.complete() || !s.hasRun || s.foreign {
		return false
	}
	if !s.judged() || s.record == "" {
		return true
	}
	_, err := record.Decode(s.record)
	return err != nil
}

// failure says what is wrong, in the words of the condition where there is one.
func (s taskRunState) failure(r verify.Result) string {
	if s.ours.status == string(corev1.ConditionFalse) && s.ours.message != "" {
		return s.ours.message
	}
	return fmt.Sprintf("%s: %s: %s", r.Verdict, r.Reason, r.Message)
}
