// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/budget"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/preflight"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/selftest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// schema is the part of a JSON schema (2020-12) that the reports need.
type schema map[string]any

// reports are the kinds of objects that commands print, each with a schema in docs/schema.
func reports() map[string]reflect.Type {
	return map[string]reflect.Type{
		report.Kind:          reflect.TypeFor[report.Report](),
		report.StatusKind:    reflect.TypeFor[report.StatusReport](),
		report.PreflightKind: reflect.TypeFor[report.PreflightReport](),
		report.BudgetKind:    reflect.TypeFor[report.BudgetReport](),
		report.SelftestKind:  reflect.TypeFor[report.SelftestReport](),
	}
}

// writeSchemas writes the schemas of all reports.
func writeSchemas(folder string) error {
	for kind, of := range reports() {
		file := strings.ToLower(kind) + ".v1alpha1.json"
		schema, err := schemaOf(of, kind, file)
		if err != nil {
			return fmt.Errorf("writing the schema of %s: %w", kind, err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), schema, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// schemaOf makes the JSON schema of a kind of object from its Go type.
func schemaOf(t reflect.Type, kind, file string) ([]byte, error) {
	g := &schemas{defs: schema{}, known: map[reflect.Type]schema{
		reflect.TypeFor[time.Time]():      {"type": "string", "format": "date-time"},
		reflect.TypeFor[verify.Verdict](): names(verify.Verdicts()),
		reflect.TypeFor[verify.Status](): names(
			[]verify.Status{verify.Pass, verify.Fail, verify.Unknown, verify.Missing, verify.Warn, verify.Note}),
		reflect.TypeFor[status.Outcome]():     names(status.Outcomes()),
		reflect.TypeFor[status.Part]():        names(status.Parts()),
		reflect.TypeFor[status.CheckID]():     names(status.CheckIDs()),
		reflect.TypeFor[preflight.Outcome]():  names(preflight.Outcomes()),
		reflect.TypeFor[preflight.State]():    names(preflight.States()),
		reflect.TypeFor[preflight.Group]():    names(preflight.Groups()),
		reflect.TypeFor[budget.State]():       names(budget.States()),
		reflect.TypeFor[budget.Effect]():      names(budget.Effects()),
		reflect.TypeFor[budget.Compression](): names(budget.Compressions()),
		reflect.TypeFor[budget.Carrier]():     names(budget.Carriers()),
		reflect.TypeFor[selftest.State]():     names(selftest.States()),
		reflect.TypeFor[selftest.StepID]():    names(selftest.Steps()),
		reflect.TypeFor[signing.Format]():     names(signing.Formats()),
		reflect.TypeFor[signing.Assurance]():  names(signing.Assurances()),
	}}
	s := g.object(t)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = "https://tekton-sign.dev/schema/" + file
	s["title"] = kind
	properties := s["properties"].(schema)
	properties["apiVersion"], properties["kind"] = schema{"const": report.APIVersion}, schema{"const": kind}
	s["$defs"] = g.defs
	data, err := json.MarshalIndent(s, "", "  ")
	return append(data, '\n'), err
}

func names[T ~string](known []T) schema { return schema{"type": "string", "enum": known} }

// schemas makes one definition for every struct.
type schemas struct {
	defs  schema
	known map[reflect.Type]schema
}

func (g *schemas) of(t reflect.Type) schema {
	if s, ok := g.known[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.of(t.Elem())
	case reflect.Struct:
		name := definitionOf(t)
		if _, ok := g.defs[name]; !ok {
			g.defs[name] = schema{} // a type may contain itself
			g.defs[name] = g.object(t)
		}
		return schema{"$ref": "#/$defs/" + name}
	case reflect.Slice:
		return schema{"type": "array", "items": g.of(t.Elem())}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int:
		return schema{"type": "integer", "minimum": 0}
	case reflect.Int32: // exit codes
		return schema{"type": "integer"}
	}
	panic("a field of the report has type " + t.String() + ", which the schema does not know")
}

// definitionOf returns the name of a type's definition. Types of records may have the names of others.
func definitionOf(t reflect.Type) string {
	if strings.HasSuffix(t.PkgPath(), "/record") {
		return "Record" + t.Name()
	}
	return t.Name()
}

// object returns the schema of a struct. Unknown fields are allowed, because a later version may add fields.
func (g *schemas) object(t reflect.Type) schema {
	properties, required := schema{}, []string{}
	for _, field := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			continue // an embedded struct, whose fields are listed separately
		}
		properties[name] = g.of(field.Type)
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	return schema{"type": "object", "properties": properties, "required": required}
}
