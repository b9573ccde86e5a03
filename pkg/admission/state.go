// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"
	kjson "sigs.k8s.io/json"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// Fields of a TaskRun's status (v1.TaskRunStatus).
const (
	fieldAnnotations    = "annotations"
	fieldArtifacts      = "artifacts"
	fieldCompletionTime = "completionTime"
	fieldConditions     = "conditions"
	fieldPodName        = "podName"
	fieldResults        = "results"
	fieldRetries        = "retriesStatus"
	fieldStartTime      = "startTime"
	fieldSteps          = "steps"
	fieldTaskSpec       = "taskSpec"
)

// state is the status of a TaskRun, or of one of its attempts, taken apart no further than needed, so that what this version
// does not know survives. Setters replace fields and never change what a field holds: a clone shares everything else.
type state map[string]json.RawMessage

func (s state) clone() state {
	if s == nil {
		return state{}
	}
	return maps.Clone(s)
}

func (s state) set(field string, value any) error {
	raw, err := encode(value)
	if err != nil {
		return err
	}
	s[field] = raw
	return nil
}

// list returns the elements of a field that is a list, none if it is absent.
func (s state) list(field string) ([]json.RawMessage, error) {
	var all []json.RawMessage
	if raw, ok := s[field]; ok {
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, fmt.Errorf("reading status.%s: %w", field, err)
		}
	}
	return all, nil
}

// conditions returns the conditions. That they are a list was seen when the object was read.
func (s state) conditions() []json.RawMessage {
	all, _ := s.list(fieldConditions)
	return all
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
func (s state) succeeded() conditionHead {
	for _, c := range s.conditions() {
		if head := headOf(c); head.Type == string(apis.ConditionSucceeded) {
			return head
		}
	}
	return conditionHead{}
}

// complete reports whether the attempt has succeeded or failed.
func (s state) complete() bool {
	status := s.succeeded().Status
	return status == string(corev1.ConditionTrue) || status == string(corev1.ConditionFalse)
}

// ours returns the conditions of our type.
func (s state) ours() []json.RawMessage {
	var found []json.RawMessage
	for _, c := range s.conditions() {
		if headOf(c).Type == string(verify.ConditionType) {
			found = append(found, c)
		}
	}
	return found
}

// judged reports whether the status carries one condition of ours that holds a verdict.
func (s state) judged() bool {
	ours := s.ours()
	return len(ours) == 1 && headOf(ours[0]).Status != string(corev1.ConditionUnknown)
}

// verified reports whether the verdict is a good one.
func (s state) verified() bool {
	return s.judged() && headOf(s.ours()[0]).Status == string(corev1.ConditionTrue)
}

// failedByEnforcement reports whether enforce mode has failed the attempt.
func (s state) failedByEnforcement() bool {
	succeeded := s.succeeded()
	return succeeded.Status == string(corev1.ConditionFalse) && succeeded.Reason == verify.ReasonVerificationFailed
}

// ranNothing reports whether there is no trace of a pod: a TaskRun that Tekton refused before it made one.
func (s state) ranNothing() bool {
	for _, field := range []string{fieldPodName, fieldSteps, fieldResults, fieldArtifacts, fieldRetries} {
		switch string(s[field]) {
		case "", "null", `""`, "[]", "{}":
		default:
			return false
		}
	}
	return true
}

// setCondition puts cond, a *condition or one as it was, in the place of ours. A condition that says the same as before keeps the
// time of its transition.
func (s state) setCondition(cond any) error {
	if c, ok := cond.(*condition); ok {
		if have := s.ours(); len(have) == 1 && sameCondition(have[0], c) {
			return nil
		}
	}
	return s.placeCondition(string(verify.ConditionType), cond)
}

// placeCondition puts cond in the place of the first condition of a type, or at the end, and drops others of the type.
func (s state) placeCondition(kind string, cond any) error {
	all := []any{}
	placed := false
	for _, c := range s.conditions() {
		switch {
		case headOf(c).Type != kind:
			all = append(all, c)
		case !placed:
			all = append(all, cond)
			placed = true
		}
	}
	if !placed {
		all = append(all, cond)
	}
	return s.set(fieldConditions, all)
}

// otherConditions returns the conditions of other types.
func (s state) otherConditions() []json.RawMessage {
	return slices.DeleteFunc(s.conditions(), func(c json.RawMessage) bool {
		return headOf(c).Type == string(verify.ConditionType)
	})
}

// withoutVerdict returns a copy without our condition and without a record.
func (s state) withoutVerdict() (state, error) {
	wanted := s.clone()
	if len(s.ours()) > 0 {
		if err := wanted.set(fieldConditions, s.otherConditions()); err != nil {
			return nil, err
		}
	}
	return wanted, wanted.setRecord(nil)
}

// record returns the record that the status carries, nil if there is none.
func (s state) record() (json.RawMessage, error) {
	all, err := s.annotations()
	return all[record.Annotation], err
}

func (s state) annotations() (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	if raw, ok := s[fieldAnnotations]; ok {
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, fmt.Errorf("reading status.annotations: %w", err)
		}
	}
	return all, nil
}

// setRecord writes the record, or takes it out if it is nil.
func (s state) setRecord(value json.RawMessage) error {
	all, err := s.annotations()
	if err != nil {
		return err
	}
	if sameJSON(all[record.Annotation], value) {
		return nil
	}
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	all[record.Annotation] = value
	if value == nil {
		delete(all, record.Annotation)
	}
	if len(all) == 0 {
		delete(s, fieldAnnotations)
		return nil
	}
	return s.set(fieldAnnotations, all)
}

// stripMaterial takes the signing material out of status.results.
func (s state) stripMaterial() error {
	all, err := s.list(fieldResults)
	if err != nil {
		return err
	}
	kept := make([]json.RawMessage, 0, len(all))
	for _, r := range all {
		var head struct {
			Name string `json:"name"`
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(r, &head); err != nil {
			return fmt.Errorf("reading status.results: %w", err)
		}
		if !signing.IsReserved(head.Name) {
			kept = append(kept, r)
		}
	}
	switch len(kept) {
	case len(all):
		return nil
	case 0:
		delete(s, fieldResults)
		return nil
	}
	return s.set(fieldResults, kept)
}

// attempts returns the attempts that Tekton has archived.
func (s state) attempts() ([]state, error) {
	all, err := s.list(fieldRetries)
	if err != nil {
		return nil, err
	}
	attempts := make([]state, len(all))
	for i, raw := range all {
		if attempts[i], err = parseState(raw); err != nil {
			return nil, fmt.Errorf("archived attempt %d: %w", i, err)
		}
	}
	return attempts, nil
}

func (s state) setAttempts(attempts []state) error {
	if len(attempts) == 0 {
		delete(s, fieldRetries)
		return nil
	}
	return s.set(fieldRetries, attempts)
}

func parseState(raw json.RawMessage) (state, error) {
	var s state
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("reading the status: %w", err)
	}
	if _, err := s.list(fieldConditions); err != nil {
		return nil, err
	}
	return s, nil
}
