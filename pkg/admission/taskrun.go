// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"reflect"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"
	kjson "sigs.k8s.io/json"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// object is a TaskRun as it came, taken apart no further than needed, so that what this version does not know survives.
type object struct {
	fields     map[string]json.RawMessage
	status     map[string]json.RawMessage
	conditions []json.RawMessage
}

func parseObject(raw []byte) (object, error) {
	var o object
	if err := json.Unmarshal(raw, &o.fields); err != nil {
		return object{}, fmt.Errorf("reading the object: %w", err)
	}
	if status, ok := o.fields["status"]; ok {
		if err := json.Unmarshal(status, &o.status); err != nil {
			return object{}, fmt.Errorf("reading the status: %w", err)
		}
	}
	if conditions, ok := o.status["conditions"]; ok {
		if err := json.Unmarshal(conditions, &o.conditions); err != nil {
			return object{}, fmt.Errorf("reading the conditions: %w", err)
		}
	}
	return o, nil
}

// conditionHead is what is looked at in other conditions.
type conditionHead struct {
	Type, Status, Reason string
}

// headOf reads each field on its own: who waits for a condition may look at type and status only, so that nonsense in
// another field must not hide it. What is no string is empty.
func headOf(raw json.RawMessage) conditionHead {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return conditionHead{}
	}
	text := func(name string) string {
		s, _ := fields[name].(string)
		return s
	}
	return conditionHead{Type: text("type"), Status: text("status"), Reason: text("reason")}
}

// succeeded returns the first condition Succeeded, as Tekton's own libraries do.
func (o object) succeeded() conditionHead {
	for _, c := range o.conditions {
		if head := headOf(c); head.Type == string(apis.ConditionSucceeded) {
			return head
		}
	}
	return conditionHead{}
}

// complete reports whether the TaskRun has succeeded or failed.
func (o object) complete() bool {
	s := o.succeeded().Status
	return s == string(corev1.ConditionTrue) || s == string(corev1.ConditionFalse)
}

// judged reports whether the status carries one condition of ours that holds a verdict.
func (o object) judged() bool {
	ours := o.ours()
	return len(ours) == 1 && headOf(ours[0]).Status != string(corev1.ConditionUnknown)
}

// ours returns the conditions of our type.
func (o object) ours() []json.RawMessage {
	var found []json.RawMessage
	for _, c := range o.conditions {
		if headOf(c).Type == string(verify.ConditionType) {
			found = append(found, c)
		}
	}
	return found
}

// judgedFields are the fields of the status that a verdict rests on, beside the condition Succeeded. The TaskRun's UID and
// spec cannot change in a status write.
var judgedFields = []string{
	"podName", "startTime", "completionTime", "steps", "retriesStatus", "results", "artifacts", "taskSpec",
}

// sameJudged reports whether two states agree in all that a verdict rests on.
func sameJudged(a, b object) bool {
	if a.succeeded() != b.succeeded() {
		return false
	}
	for _, field := range judgedFields {
		if !sameJSON(a.status[field], b.status[field]) {
			return false
		}
	}
	return true
}

// sameJSON compares values, not bytes. An absent field equals null.
func sameJSON(a, b json.RawMessage) bool {
	var va, vb any
	if len(a) > 0 && json.Unmarshal(a, &va) != nil {
		return false
	}
	if len(b) > 0 && json.Unmarshal(b, &vb) != nil {
		return false
	}
	return reflect.DeepEqual(va, vb)
}

// ranNothing reports whether the status shows no trace of a pod: a TaskRun that Tekton refused before it made one.
func (o object) ranNothing() bool {
	for _, field := range []string{"podName", "steps", "results", "artifacts", "retriesStatus"} {
		switch string(o.status[field]) {
		case "", "null", `""`, "[]", "{}":
		default:
			return false
		}
	}
	return true
}

// asStored returns the TaskRun that the API server will store: of a status write it takes the status, and everything else
// from the old object, although the request may carry another spec or another name. Our own condition is left out.
func asStored(old, submitted object) (*v1.TaskRun, error) {
	stored := make(map[string]json.RawMessage, len(old.fields))
	for name, value := range old.fields {
		stored[name] = value
	}
	status := make(map[string]any, len(submitted.status))
	for name, value := range submitted.status {
		status[name] = value
	}
	var others []json.RawMessage
	for _, c := range submitted.conditions {
		if headOf(c).Type != string(verify.ConditionType) {
			others = append(others, c)
		}
	}
	status["conditions"] = others
	encoded, err := json.Marshal(status)
	if err != nil {
		return nil, fmt.Errorf("encoding the status: %w", err)
	}
	stored["status"] = encoded
	raw, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encoding the TaskRun: %w", err)
	}
	tr := &v1.TaskRun{}
	if err := strictjson.DecodeOpen(raw, tr); err != nil {
		return nil, fmt.Errorf("reading the TaskRun: %w", err)
	}
	return tr, nil
}

// conditionsWith returns the conditions with cond in the place of ours, or without ours if cond is nil.
func (o object) conditionsWith(cond any) []any {
	all := []any{}
	placed := cond == nil
	for _, c := range o.conditions {
		if headOf(c).Type != string(verify.ConditionType) {
			all = append(all, c)
			continue
		}
		if !placed {
			all = append(all, cond)
			placed = true
		}
	}
	if !placed {
		all = append(all, cond)
	}
	return all
}

// setConditions returns the operation that writes the conditions. add replaces a member that exists, and needs the one
// around it (RFC 6902, section 4.1).
func (o object) setConditions(conditions []any) operation {
	if o.status == nil {
		return operation{Op: "add", Path: "/status", Value: map[string]any{"conditions": conditions}}
	}
	return operation{Op: "add", Path: "/status/conditions", Value: conditions}
}

// resultsWithoutCarriers returns status.results without the signing material, and whether there was any.
func (o object) resultsWithoutCarriers() ([]json.RawMessage, bool, error) {
	raw, ok := o.status["results"]
	if !ok {
		return nil, false, nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, false, fmt.Errorf("reading status.results: %w", err)
	}
	kept := make([]json.RawMessage, 0, len(all))
	for _, r := range all {
		var head struct {
			Name string `json:"name"`
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(r, &head); err != nil {
			return nil, false, fmt.Errorf("reading status.results: %w", err)
		}
		if !signing.IsReserved(head.Name) {
			kept = append(kept, r)
		}
	}
	return kept, len(kept) != len(all), nil
}
