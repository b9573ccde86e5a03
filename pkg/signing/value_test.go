// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
)

// rawValues returns the contents of result files as steps may write them.
func rawValues() []string {
	return []string{
		"", "text", "null", "true", "1", `"quoted"`, `"broken`, " [\"a\"]", "\ufeff[]",
		`[]`, `["a"]`, `[ "b" , "a" ]`, `["a",null]`, `["a"]x`, `["a"] `, `["a"`, `[1]`, `["a",1]`, `[["a"]]`,
		`["\u003c\u2028\ud800"]`,
		`{}`, `{"a":"b"}`, `{ "z":"1", "a":"2", "ä":"3" }`, `{"a":"1","a":"2"}`, `{"a":null}`, `{"a":1}`, `{"a":{}}`,
		`{"a":"<&>"}`,
		"{\"a\":\"\xff\"}", "[\"\xed\xa0\x80\"]", "\xff", "[\"a\"]\n", "[\n\"a\"\n]",
	}
}

func FuzzParseValueIsTektons(f *testing.F) {
	for _, raw := range rawValues() {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var want v1.ParamValue
		if err := want.UnmarshalJSON([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		got := parseValue(raw)
		compareValue(t, raw, want, got)
		// A value that went through Tekton's status has the same canonical form as the step's file.
		if want.Type != v1.ParamTypeString {
			status, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if a, b := CanonicalValue(raw), CanonicalValue(string(status)); a != b {
				t.Errorf("%q: canonical form %q, and %q once it went through the status", raw, a, b)
			}
		}
		if once := CanonicalValue(raw); CanonicalValue(once) != once {
			t.Errorf("%q: canonical form %q changes again to %q", raw, once, CanonicalValue(once))
		}
		if got, want := LegacyValue(raw), joined(want); got != want {
			t.Errorf("%q: format v1 signs %q, Tekton %q", raw, got, want)
		}
	})
}

func compareValue(t *testing.T, raw string, want v1.ParamValue, got parsedValue) {
	t.Helper()
	kind := v1.ParamTypeString
	switch {
	case got.array != nil:
		kind = v1.ParamTypeArray
	case got.object != nil:
		kind = v1.ParamTypeObject
	}
	parsed := v1.ParamValue{Type: kind, StringVal: got.text, ArrayVal: got.array, ObjectVal: got.object}
	if diff := cmp.Diff(want, parsed); diff != "" {
		t.Errorf("%q is read otherwise than by Tekton (-Tekton +ours):\n%s", raw, diff)
	}
}

// joined returns Tekton's form of a value that it signs (pkg/spire does not export it).
func joined(v v1.ParamValue) string {
	switch v.Type {
	case v1.ParamTypeArray:
		return strings.Join(v.ArrayVal, ",")
	case v1.ParamTypeObject:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v.ObjectVal)) {
			parts = append(parts, k, v.ObjectVal[k])
		}
		return strings.Join(parts, ",")
	}
	return v.StringVal
}

func TestCanonicalValue(t *testing.T) {
	for raw, want := range map[string]string{
		"":                         "",
		"text":                     "text",
		`"quoted"`:                 `"quoted"`,
		`[ "b", "a" ]`:             `["b","a"]`,
		"[\n\"<&>\"]\n":            `["<&>"]`,
		`["\u003c"]`:               `["<"]`,
		`["\u2028"]`:               `["\u2028"]`,
		`{ "z":"1", "a":"2" }`:     `{"a":"2","z":"1"}`,
		`{"ä":"1","b":"2","Z":""}`: `{"Z":"","b":"2","ä":"1"}`,
		`{"a":"1","a":"2"}`:        `{"a":"2"}`,
		`[1, 2]`:                   `[1, 2]`,
		`["a"`:                     `["a"`,
	} {
		if got := CanonicalValue(raw); got != want {
			t.Errorf("CanonicalValue(%q) = %q, want %q", raw, got, want)
		}
	}
}

// TestCanonicalArtifacts compares the canonical form of a file with the canonical form of what Tekton's
// sidecar makes from it for the status.
func TestCanonicalArtifacts(t *testing.T) {
	for raw, want := range map[string]string{
		`{}`:               "",
		`null`:             "",
		`{"inputs":[]}`:    "",
		`{"outputs":[{}]}`: `{"outputs":[{}]}`,
		`{"outputs":[{"values":[{"uri":"pkg:x","digest":{"sha512":"b","sha256":"a"}}],` +
			`"name":"i<m>g","buildOutput":true,"other":1}]}`: `{"outputs":[{"buildOutput":true,"name":"i<m>g",` +
			`"values":[{"digest":{"sha256":"a","sha512":"b"},"uri":"pkg:x"}]}]}`,
		`{ "Inputs":[{"name":"src","values":[null,{"uri":""}],"buildOutput":false}] }`: `` +
			`{"inputs":[{"name":"src","values":[{},{}]}]}`,
	} {
		if got := CanonicalArtifacts(raw); got != want {
			t.Errorf("CanonicalArtifacts(%s)\n got %s\nwant %s", raw, got, want)
		}
		var tektons v1.Artifacts
		if err := json.Unmarshal([]byte(raw), &tektons); err != nil {
			t.Fatal(err)
		}
		status, err := json.Marshal(tektons)
		if err != nil {
			t.Fatal(err)
		}
		if got := CanonicalArtifacts(string(status)); got != want {
			t.Errorf("CanonicalArtifacts(%s), of the status\n got %s\nwant %s", status, got, want)
		}
	}
	for _, raw := range []string{"", "x", "[]", `{"inputs":1}`, `{"inputs":[]}x`} {
		if got := CanonicalArtifacts(raw); got != "" {
			t.Errorf("CanonicalArtifacts(%s) = %s, want nothing", raw, got)
		}
	}
}

func TestCanonicalEntry(t *testing.T) {
	var got []Entry
	for _, e := range []Entry{
		{Kind: result.StepResultType, Name: "a", Value: `[ "x" ]`},
		{Kind: result.TaskRunResultType, Name: "a", Value: ""},
		{Kind: result.StepArtifactsResultType, Name: "step-a", Value: `{ "inputs": [{"name":"n"}] }`},
		{Kind: result.StepArtifactsResultType, Name: "step-b", Value: `{}`},
	} {
		if canonical, ok := CanonicalEntry(e.Kind, e.Name, e.Value); ok {
			got = append(got, canonical)
		}
	}
	SortEntries(got)
	want := []Entry{
		{Kind: result.TaskRunResultType, Name: "a", Value: ""},
		{Kind: result.StepResultType, Name: "a", Value: `["x"]`},
		{Kind: result.StepArtifactsResultType, Name: "step-a", Value: `{"inputs":[{"name":"n"}]}`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}
}
