// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// marks are the add-on's annotations in a status: JSON values, empty if absent.
type marks struct{ record, seal string }

// parseMarks reads the add-on's annotations and drops the others, because there can be any number of them.
func parseMarks(annotations json.RawMessage) (m marks, err error) {
	if !isObject(annotations) {
		return m, nil // nobody reads any in it
	}
	err = walk(annotations, func(key, value []byte) {
		switch string(unquote(key)) {
		case record.Annotation:
			m.record = string(value)
		case seal.Annotation:
			m.seal = string(value)
		}
	})
	if err != nil {
		return marks{}, fmt.Errorf("reading status.annotations: %w", err)
	}
	return m, nil
}

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

// text returns a mark that is a string, or an empty text.
func text(mark string) string {
	var value string
	if err := json.Unmarshal([]byte(mark), &value); err != nil {
		return ""
	}
	return value
}

func quoted(value string) string {
	raw, err := json.Marshal(value)
	if err != nil {
		return "" // a string always encodes
	}
	return string(raw)
}

// changes lists the marks that changed, by key. An empty value is removed.
func (m marks) changes(came marks) map[string]string {
	changed := map[string]string{}
	if m.record != came.record {
		changed[record.Annotation] = m.record
	}
	if m.seal != came.seal {
		changed[seal.Annotation] = m.seal
	}
	return changed
}

// in returns annotations with these marks and no others, or nil if there are none.
func (m marks) in(annotations json.RawMessage) (json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	if isObject(annotations) {
		if err := json.Unmarshal(annotations, &all); err != nil {
			return nil, fmt.Errorf("reading status.annotations: %w", err)
		}
	}
	for key, value := range map[string]string{record.Annotation: m.record, seal.Annotation: m.seal} {
		delete(all, key)
		if value != "" {
			all[key] = json.RawMessage(value)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return encode(all)
}
