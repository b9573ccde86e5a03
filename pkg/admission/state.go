// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
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

// state is the status of a TaskRun or of one of its attempts. It is decoded only as far as necessary, so that
// unknown fields survive, and only once, because its author can make it as large as the API server allows. Setters
// replace fields and never change their contents: a clone shares everything else.
type state struct {
	fields     map[string]json.RawMessage // nil: there is no status
	conditions []entry                    // what the field of that name holds
	came       marks                      // its annotations
	marks      marks                      // what it is to hold
}

func parseState(raw json.RawMessage) (s state, err error) {
	if isNull(raw) {
		return state{}, nil
	}
	if s.fields, err = members(raw); err != nil {
		return state{}, fmt.Errorf("reading the status: %w", err)
	}
	if s.conditions, err = parseConditions(s.fields[fieldConditions]); err != nil {
		return state{}, err
	}
	if s.came, err = parseMarks(s.fields[fieldAnnotations]); err != nil {
		return state{}, err
	}
	s.marks = s.came
	return s, nil
}

func (s state) clone() state {
	s.fields = maps.Clone(s.fields)
	if s.fields == nil {
		s.fields = map[string]json.RawMessage{}
	}
	return s
}

func (s state) set(field string, value any) error {
	raw, err := encode(value)
	if err != nil {
		return err
	}
	s.fields[field] = raw
	return nil
}

// list returns the elements of a field that is a list, none if it is absent.
func (s state) list(field string) ([]json.RawMessage, error) {
	raw := s.fields[field]
	if isNull(raw) {
		return nil, nil
	}
	all, err := elements(raw)
	if err != nil {
		return nil, fmt.Errorf("reading status.%s: %w", field, err)
	}
	return all, nil
}

// MarshalJSON implements json.Marshaler.
func (s state) MarshalJSON() ([]byte, error) {
	fields := s.fields
	if s.marks != s.came {
		annotations, err := s.marks.in(fields[fieldAnnotations])
		if err != nil {
			return nil, err
		}
		fields = maps.Clone(fields)
		fields[fieldAnnotations] = annotations
		if annotations == nil {
			delete(fields, fieldAnnotations)
		}
	}
	return json.Marshal(fields)
}

// complete reports whether the attempt has succeeded or failed.
func (s state) complete() bool { return decided(s.succeeded().Status) }

// decided reports whether the status of a condition is True or False.
func decided(status string) bool {
	return status == string(corev1.ConditionTrue) || status == string(corev1.ConditionFalse)
}

// failedByEnforcement reports whether enforce mode has failed the attempt.
func (s state) failedByEnforcement() bool {
	succeeded := s.succeeded()
	return succeeded.Status == string(corev1.ConditionFalse) && succeeded.Reason == verify.ReasonVerificationFailed
}

// ranNothing reports whether no attempt has a trace of a pod: Tekton refused the TaskRun before it created one.
func (s state) ranNothing() bool {
	if s.hasAny(fieldPodName, fieldSteps, fieldResults, fieldArtifacts) {
		return false
	}
	attempts, err := s.attempts()
	return err == nil && !slices.ContainsFunc(attempts, func(a state) bool {
		return a.hasAny(fieldPodName, fieldSteps, fieldResults, fieldArtifacts, fieldRetries)
	})
}

// hasAny reports whether one of the fields has a value.
func (s state) hasAny(fields ...string) bool {
	return slices.ContainsFunc(fields, func(field string) bool {
		switch string(s.fields[field]) {
		case "", "null", `""`, "[]", "{}":
			return false
		}
		return true
	})
}

// withoutVerdict returns a copy without the add-on's condition, seal and record.
func (s state) withoutVerdict() state {
	wanted := s.clone()
	wanted.marks.record, wanted.marks.seal = "", ""
	if slices.ContainsFunc(s.conditions, isOurs) {
		wanted.setConditions(slices.DeleteFunc(slices.Clone(s.conditions), isOurs))
	}
	return wanted
}

// stripMaterial removes the signing material from status.results.
func (s state) stripMaterial() error { return s.stripResults(signing.IsReserved) }

// stripMaterialOf removes the signing material of a verified TaskRun. In format v1, that is every name with the suffix
// of a signature: no declared result may have it.
func (s state) stripMaterialOf(result verify.Result) error {
	if result.Format == signing.FormatV1 {
		return s.stripResults(signing.IsLegacyCarrier)
	}
	return s.stripMaterial()
}

// stripResults removes the results with these names from status.results.
func (s state) stripResults(material func(name string) bool) error {
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
		if !material(head.Name) {
			kept = append(kept, r)
		}
	}
	switch len(kept) {
	case len(all):
		return nil
	case 0:
		delete(s.fields, fieldResults)
		return nil
	}
	return s.set(fieldResults, kept)
}

// stripMessages removes the evidence from the steps' termination messages, and leaves the reason there.
func (s state) stripMessages() error {
	steps, err := s.list(fieldSteps)
	if err != nil || len(steps) == 0 {
		return err
	}
	for i, raw := range steps {
		var step, terminated map[string]json.RawMessage
		if json.Unmarshal(raw, &step) != nil || json.Unmarshal(step["terminated"], &terminated) != nil {
			continue // nothing of ours
		}
		message, ok := signing.WithoutEvidence(text(string(terminated["message"])))
		if !ok {
			continue
		}
		terminated["message"] = json.RawMessage(quoted(message))
		if step["terminated"], err = encode(terminated); err != nil {
			return err
		}
		if steps[i], err = encode(step); err != nil {
			return err
		}
	}
	return s.set(fieldSteps, steps)
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
		delete(s.fields, fieldRetries)
		return nil
	}
	return s.set(fieldRetries, attempts)
}
