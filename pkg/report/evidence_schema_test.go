// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/evidence"
)

// schemaOf returns the JSON schema (draft 2020-12) of a type as encoding/json writes it. constants are the
// values that fields of the outermost type always have.
func schemaOf(t reflect.Type, constants map[string]any) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), nil)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), nil)}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Struct:
		return structSchema(t, constants)
	case reflect.String:
		if t == reflect.TypeFor[evidence.State]() {
			return map[string]any{"type": "string", "enum": []any{
				string(evidence.StateEvidence), string(evidence.StateUnsigned), string(evidence.StateAbsent),
				string(evidence.StateUnreadable), string(evidence.StateEnded), string(evidence.StateRunning),
			}}
		}
		return map[string]any{"type": "string"}
	}
	return map[string]any{"type": "integer"}
}

func structSchema(t reflect.Type, constants map[string]any) map[string]any {
	properties, required := map[string]any{}, []any{}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		properties[name] = schemaOf(t.Field(i).Type, nil)
		if value, ok := constants[name]; ok {
			properties[name] = map[string]any{"const": value}
		}
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}

// The schema in docs matches the object: adding, removing or renaming a field changes it.
func TestEvidenceSchema(t *testing.T) {
	schema := schemaOf(reflect.TypeFor[EvidenceReport](), map[string]any{
		"apiVersion": APIVersion, "kind": EvidenceKind, "notice": EvidenceNotice, "verified": false,
	})
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	const file = "evidencereport.v1alpha1.json"
	schema["$id"] = "https://tekton-sign.dev/schema/" + file
	schema["title"] = "Evidence: what evidence -o json and -o yaml write. Nothing in it is verified."
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	path := filepath.Join("..", "..", "docs", "schema", file)
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("docs/schema/%s differs (-want +got); run with -update if that is meant:\n%s", file, diff)
	}
}
