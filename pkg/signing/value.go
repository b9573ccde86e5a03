// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/tektoncd/pipeline/pkg/result"
)

// parsedValue is a result's value as Tekton reads it (ParamValue.UnmarshalJSON of its API): an array of
// strings, an object of strings, or else a string. It does not use ParamValue itself, because the signer must
// not link Tekton's API types.
type parsedValue struct {
	array  []string
	object map[string]string
	text   string
}

func parseValue(raw string) parsedValue {
	var v parsedValue
	switch {
	case raw == "":
		return v
	case raw[0] == '[':
		if json.Unmarshal([]byte(raw), &v.array) == nil {
			return v
		}
	case raw[0] == '{':
		if json.Unmarshal([]byte(raw), &v.object) == nil {
			return v
		}
	}
	if json.Unmarshal([]byte(raw), &v.text) != nil {
		v.text = raw
	}
	return parsedValue{text: v.text}
}

// CanonicalValue returns the form in which the value of a result is hashed when values travel by the log of
// Tekton's results sidecar: an array or object of strings as JSON without spaces, with its keys sorted by
// bytes and without HTML escapes, and everything else unchanged.
func CanonicalValue(raw string) string {
	v := parseValue(raw)
	switch {
	case v.array != nil:
		return encode(v.array)
	case v.object != nil:
		return encode(v.object)
	}
	return raw
}

// LegacyValue returns the form in which format v1 signs a value: a string unchanged, an array joined by
// commas, and an object as its sorted keys, each with its value, joined by commas.
func LegacyValue(raw string) string {
	v := parseValue(raw)
	switch {
	case v.array != nil:
		return strings.Join(v.array, ",")
	case v.object != nil:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v.object)) {
			parts = append(parts, key, v.object[key])
		}
		return strings.Join(parts, ",")
	}
	return v.text
}

// artifacts is a step's description of its artifacts, with the members sorted by name (Tekton's type
// Artifacts).
type artifacts struct {
	Inputs  []artifact `json:"inputs,omitempty"`
	Outputs []artifact `json:"outputs,omitempty"`
}

type artifact struct {
	BuildOutput bool            `json:"buildOutput,omitempty"`
	Name        string          `json:"name,omitempty"`
	Values      []artifactValue `json:"values,omitempty"`
}

type artifactValue struct {
	Digest map[string]string `json:"digest,omitempty"`
	URI    string            `json:"uri,omitempty"`
}

// CanonicalArtifacts returns the form in which artifacts are hashed when they travel by the log of Tekton's
// results sidecar: JSON without spaces and HTML escapes, members sorted by name, empty ones left out. It is
// empty if there are no artifacts, or if raw is not JSON of artifacts; then there is no entry either.
func CanonicalArtifacts(raw string) string {
	var a artifacts
	if json.Unmarshal([]byte(raw), &a) != nil || len(a.Inputs)+len(a.Outputs) == 0 {
		return ""
	}
	return encode(a)
}

// encode returns v as JSON without spaces and HTML escapes, with sorted keys.
func encode(v any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err) // strings always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// CanonicalEntry returns the entry of a value that travels by the log of Tekton's results sidecar. raw is the
// content of the step's file. It returns false for artifacts that name nothing, which have no entry.
func CanonicalEntry(kind result.ResultType, name, raw string) (Entry, bool) {
	e := Entry{Kind: kind, Name: name}
	switch kind {
	case result.StepArtifactsResultType, result.TaskRunArtifactsResultType:
		e.Value = CanonicalArtifacts(raw)
		return e, e.Value != ""
	}
	e.Value = CanonicalValue(raw)
	return e, true
}

// SortEntries sorts entries into the order of a payload.
func SortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}
