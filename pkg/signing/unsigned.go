// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tektoncd/pipeline/pkg/result"
)

// unsignedPrefix begins a manifest with the reason why a step has no signature.
const unsignedPrefix = "none:"

// UnsignedReason is the reason why a step could not sign. It is a claim of the pod, which is shown and never
// trusted.
type UnsignedReason string

// UnsignedAnnotation is an annotation of pods that describes why the add-on did not make them sign. It is for
// people and proves nothing: anyone who can write the pod can set it.
const UnsignedAnnotation = "tekton-sign.dev/unsigned"

// UnsignedReasons lists every reason.
func UnsignedReasons() []UnsignedReason {
	reasons := make([]UnsignedReason, len(unsignedRows))
	for i, row := range unsignedRows {
		reasons[i] = row.reason
	}
	return reasons
}

// Explain describes a reason in a few words, and where to look.
func (r UnsignedReason) Explain() string {
	for _, row := range unsignedRows {
		if row.reason == r {
			return row.words
		}
	}
	return string(r)
}

// Lasts reports whether later steps of the pod would wait in vain for the same reason.
func (r UnsignedReason) Lasts() bool {
	for _, row := range unsignedRows {
		if row.reason == r {
			return row.lasts
		}
	}
	return false
}

// UnsignedError is the error of a signer, with the reason to leave instead of evidence.
type UnsignedError struct {
	Reason UnsignedReason
	Err    error
}

func (e *UnsignedError) Error() string { return fmt.Sprintf("%s: %v", e.Reason, e.Err) }

// Unwrap returns the cause.
func (e *UnsignedError) Unwrap() error { return e.Err }

// UnsignedManifest returns the manifest of a step that could not sign.
func UnsignedManifest(reason UnsignedReason) result.RunResult {
	return NewCarrier(CarrierManifest, unsignedPrefix+string(reason))
}

// ParseUnsignedManifest returns the reason in a manifest written by UnsignedManifest. It returns false for
// every other value, and for a reason that does not exist.
func ParseUnsignedManifest(value string) (UnsignedReason, bool) {
	reason, ok := strings.CutPrefix(value, unsignedPrefix)
	if !ok {
		return "", false
	}
	for _, known := range UnsignedReasons() {
		if reason == string(known) {
			return known, true
		}
	}
	return "", false
}

// WithoutEvidence returns a termination message with the reason too-long in place of the evidence in it, and whether
// there was any. The add-on stores a step so where a TaskRun has no room for evidence.
func WithoutEvidence(message string) (string, bool) {
	var entries []json.RawMessage
	if json.Unmarshal([]byte(message), &entries) != nil {
		return "", false
	}
	reason, err := json.Marshal(UnsignedManifest(UnsignedTooLong))
	if err != nil {
		return "", false
	}
	var before, after []json.RawMessage // Tekton stores entries in the order of their keys
	for _, raw := range entries {
		var entry struct {
			Key string `json:"key"`
		}
		switch err := json.Unmarshal(raw, &entry); {
		case err == nil && IsReserved(entry.Key):
		case err == nil && entry.Key > CarrierManifest:
			after = append(after, raw)
		default:
			before = append(before, raw)
		}
	}
	if len(before)+len(after) == len(entries) {
		return "", false
	}
	rest, err := json.Marshal(slices.Concat(before, []json.RawMessage{reason}, after))
	return string(rest), err == nil && string(rest) != message
}
