// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"knative.dev/pkg/apis"
	kjson "sigs.k8s.io/json"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// entry is a condition: as it came, and the part that is read.
type entry struct {
	raw  json.RawMessage
	head conditionHead
}

// conditionHead is the part of a condition that is read. It is empty for other conditions.
type conditionHead struct {
	Type, Status, Reason string
}

func isOurs(e entry) bool { return e.head.Type == string(verify.ConditionType) }

func isSucceeded(e entry) bool { return e.head.Type == string(apis.ConditionSucceeded) }

// parseConditions reads each condition once, and each field alone. Clients that wait for a condition may read only
// type and status, so nonsense in another field must not hide it.
func parseConditions(raw json.RawMessage) ([]entry, error) {
	if isNull(raw) {
		return nil, nil
	}
	all, err := elements(raw)
	if err != nil {
		return nil, fmt.Errorf("reading status.%s: %w", fieldConditions, err)
	}
	entries := make([]entry, len(all))
	for i, c := range all {
		entries[i] = entry{c, headOf(c)}
	}
	return entries, nil
}

// headOf returns the head of a condition, or an empty one for anything else.
func headOf(raw []byte) (head conditionHead) {
	var kind, status, reason []byte
	err := walk(raw, func(key, value []byte) {
		switch string(unquote(key)) {
		case "type":
			kind = unquote(value)
		case "status":
			status = value
		case "reason":
			reason = value
		}
	})
	switch string(kind) {
	case string(apis.ConditionSucceeded), string(verify.ConditionType):
		if err == nil {
			return conditionHead{string(kind), string(unquote(status)), string(unquote(reason))}
		}
	}
	return head
}

// succeeded returns the first condition Succeeded, as Tekton's own libraries do.
func (s state) succeeded() conditionHead {
	if i := slices.IndexFunc(s.conditions, isSucceeded); i >= 0 {
		return s.conditions[i].head
	}
	return conditionHead{}
}

// outcomes returns all conditions Succeeded.
func (s state) outcomes() []conditionHead {
	var all []conditionHead
	for _, c := range s.conditions {
		if isSucceeded(c) {
			all = append(all, c.head)
		}
	}
	return all
}

// ours returns the conditions of our type.
func (s state) ours() []entry {
	var found []entry
	for _, c := range s.conditions {
		if isOurs(c) {
			found = append(found, c)
		}
	}
	return found
}

// condition returns the add-on's condition to seal, or the zero value. It is an error if it is ambiguous.
func (s state) condition() (c condition, err error) {
	ours := s.ours()
	switch len(ours) {
	case 0:
		return c, nil
	case 1:
		err = kjson.UnmarshalCaseSensitivePreserveInts(ours[0].raw, &c)
	default:
		err = fmt.Errorf("expected one condition %s, got %d", verify.ConditionType, len(ours))
	}
	return c, err
}

// setConditions replaces all conditions. Succeeded stays first, because some tools read only the first.
func (s *state) setConditions(all []entry) {
	if i := slices.IndexFunc(all, isSucceeded); i > 0 {
		all = slices.Concat(all[i:i+1], all[:i], all[i+1:])
	}
	if slices.EqualFunc(all, s.conditions, func(a, b entry) bool { return bytes.Equal(a.raw, b.raw) }) {
		return
	}
	var b bytes.Buffer
	b.WriteByte('[')
	for i, c := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(c.raw)
	}
	b.WriteByte(']')
	s.conditions, s.fields[fieldConditions] = all, b.Bytes()
}

// inOrder puts the condition Succeeded first.
func (s *state) inOrder() { s.setConditions(s.conditions) }

// setCondition replaces the add-on's condition. If it is the same as before, the time of its transition stays.
func (s *state) setCondition(cond *condition) error {
	if have := s.ours(); len(have) == 1 && sameCondition(have[0].raw, cond) {
		s.inOrder()
		return nil
	}
	return s.replaceCondition(cond)
}

func (s *state) replaceCondition(cond *condition) error {
	raw, err := encode(cond)
	if err != nil {
		return err
	}
	s.placeCondition(entry{raw, conditionHead{cond.Type, string(cond.Status), cond.Reason}})
	return nil
}

// placeCondition replaces the first condition of this type, or appends it, and removes others of the type.
func (s *state) placeCondition(cond entry) {
	all := make([]entry, 0, len(s.conditions)+1)
	placed := false
	for _, c := range s.conditions {
		switch {
		case c.head.Type != cond.head.Type:
			all = append(all, c)
		case !placed:
			all = append(all, cond)
			placed = true
		}
	}
	if !placed {
		all = append(all, cond)
	}
	s.setConditions(all)
}
