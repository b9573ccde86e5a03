// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Subject is what a seal vouches for: a TaskRun in one state, with one condition of ours or none.
type Subject struct {
	Namespace, Name, UID string

	State     [sha256.Size]byte // digest of everything that the verdict depends on
	Condition Condition         // the zero value if there is none
}

// Condition holds the sealed fields of a condition. The time of its last transition is not sealed.
type Condition struct{ Type, Status, Reason, Message string }

// Fields returns the fields of the status that a verdict depends on, besides the condition Succeeded.
func Fields() []string {
	return []string{"podName", "startTime", "completionTime", "steps", "retriesStatus", "results", "artifacts", "taskSpec"}
}

// Outcome is status and reason of a condition Succeeded.
type Outcome [2]string

// StateOf returns the digest of everything that a verdict depends on: the SHA-256 of an object in the form of
// encoding/json, with these members of the status and the outcomes of all conditions Succeeded. Null members
// count as absent.
func StateOf(status map[string]any, succeeded []Outcome) (digest [sha256.Size]byte, err error) {
	rests := map[string]any{"succeeded": succeeded}
	for _, name := range Fields() {
		if value := status[name]; value != nil {
			rests[name] = value
		}
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(rests); err != nil {
		return digest, fmt.Errorf("encoding the status: %w", err)
	}
	return sha256.Sum256(b.Bytes()), nil
}

// SubjectOf reads a TaskRun from the API server. It returns an error if there are several conditions of ours,
// or if a field of it is not a string.
func SubjectOf(taskRun *unstructured.Unstructured) (Subject, error) {
	status, _ := taskRun.Object["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	s := Subject{Namespace: taskRun.GetNamespace(), Name: taskRun.GetName(), UID: string(taskRun.GetUID())}
	var succeeded []Outcome
	for _, c := range conditions {
		fields, _ := c.(map[string]any)
		read, err := conditionOf(fields)
		switch {
		case read.Type == string(apis.ConditionSucceeded):
			succeeded = append(succeeded, Outcome{read.Status, read.Reason})
		case read.Type != string(verify.ConditionType):
		case err != nil:
			return Subject{}, err
		case s.Condition != Condition{}:
			return Subject{}, fmt.Errorf("expected one condition %s, got several", verify.ConditionType)
		default:
			s.Condition = read
		}
	}
	var err error
	s.State, err = StateOf(status, succeeded)
	return s, err
}

// OfAttempt returns the subject of an archived attempt of the TaskRun, counted from 0. No TaskRun has such a
// name: neither the seal of another attempt nor that of a TaskRun fits.
func (s Subject) OfAttempt(n int) Subject {
	s.Name = fmt.Sprintf("%s/attempt/%d", s.Name, n)
	return s
}

// OpenAttempt returns the facts in the seal of an archived attempt. It returns an error unless a holder of the
// key made the seal for exactly this attempt.
func OpenAttempt(key Key, taskRun *unstructured.Unstructured, n int) (Facts, error) {
	attempts, _, _ := unstructured.NestedFieldNoCopy(taskRun.Object, "status", "retriesStatus")
	list, _ := attempts.([]any)
	if n < 0 || n >= len(list) {
		return Facts{}, fmt.Errorf("expected one of %d archived attempts, got %d", len(list), n)
	}
	attempt := map[string]any{"metadata": taskRun.Object["metadata"], "status": list[n]}
	of, err := SubjectOf(&unstructured.Unstructured{Object: attempt})
	if err != nil {
		return Facts{}, err
	}
	status, _ := list[n].(map[string]any)
	annotations, _ := status["annotations"].(map[string]any)
	sealed, _ := annotations[Annotation].(string)
	return Open(key, of.OfAttempt(n), sealed)
}

// conditionOf reads each field separately. A field that is not a string is empty, and the error is returned
// at the end.
func conditionOf(fields map[string]any) (c Condition, err error) {
	for name, to := range map[string]*string{"type": &c.Type, "status": &c.Status, "reason": &c.Reason,
		"message": &c.Message} {
		value, present := fields[name]
		text, ok := value.(string)
		if present && !ok {
			err = fmt.Errorf("expected strings in a condition, got another value as %s", name)
		}
		*to = text
	}
	return c, err
}
