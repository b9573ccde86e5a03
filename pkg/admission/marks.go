// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// marks are the annotations in a status that the add-on reads or writes: JSON values, empty if absent.
type marks struct {
	record, seal string
	signed       signedMarks
}

// signedMarks are a controller's signature over the status, and the note that it was changed.
type signedMarks struct{ hash, signature, certificates, changed string }

// present reports whether there is a signature, or a part of one.
func (m signedMarks) present() bool { return m.hash != "" || m.signature != "" || m.certificates != "" }

// own reports whether the signature is in the add-on's own form. It may still be anybody's.
func (m signedMarks) own() bool { return strings.HasPrefix(text(m.hash), signing.OwnStatusForm) }

// parseMarks reads these annotations and drops the others, because there can be any number of them.
func parseMarks(annotations json.RawMessage) (m marks, err error) {
	if !isObject(annotations) {
		return m, nil // nobody reads any in it
	}
	places := m.places()
	err = walk(annotations, func(key, value []byte) {
		if place := places[string(unquote(key))]; place != nil {
			*place = string(value)
		}
	})
	if err != nil {
		return marks{}, fmt.Errorf("reading status.annotations: %w", err)
	}
	return m, nil
}

// places returns where each annotation is kept.
func (m *marks) places() map[string]*string {
	return map[string]*string{
		record.Annotation: &m.record, seal.Annotation: &m.seal,
		signing.StatusHash: &m.signed.hash, signing.StatusSignature: &m.signed.signature,
		signing.StatusCertificates: &m.signed.certificates, signing.StatusNotVerified: &m.signed.changed,
	}
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
	before, changed := came.places(), map[string]string{}
	for key, value := range m.places() {
		if *value != *before[key] {
			changed[key] = *value
		}
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
	for key, value := range m.places() {
		delete(all, key)
		if *value != "" {
			all[key] = json.RawMessage(*value)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return encode(all)
}
