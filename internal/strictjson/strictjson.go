// SPDX-License-Identifier: Apache-2.0

// Package strictjson decodes JSON (RFC 8259) from hostile writers. Go's own decoder accepts "Status" for
// "status", and uses the last of two equal keys, so that two readers of one file can see different objects.
// This package refuses a key that occurs twice, a key that differs from a field's name only in case, deep
// nesting, and trailing data.
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"

	sigsjson "sigs.k8s.io/json"
)

// MaxDepth is the deepest nesting that is accepted.
const MaxDepth = 64

// MaxValues is how many values, keys not counted, a text may have. Three bytes of text can take a kilobyte
// after decoding.
const MaxValues = 100_000

// maxUnknownFields is how many unknown fields an object may have. A field in several elements of a list
// counts once.
const maxUnknownFields = 64

// Decode reads the only JSON value in data into v. A field that v's type does not have is an error.
func Decode(data []byte, v any) error {
	unknown, err := decode(data, v)
	if err != nil {
		return err
	}
	if len(unknown) > 0 {
		return fmt.Errorf("unknown field %q", unknown[0])
	}
	return nil
}

// DecodeOpen reads the only JSON value in data into v. It ignores fields that v's type does not have, but
// refuses those whose name differs only in case from that of a field somewhere in v's type.
func DecodeOpen(data []byte, v any) error {
	unknown, err := decode(data, v)
	if err != nil {
		return err
	}
	if len(unknown) == 0 {
		return nil
	}
	names, err := Unknown(data, v)
	if err != nil {
		return err
	}
	if len(names) > maxUnknownFields {
		return fmt.Errorf("more than %d unknown fields, the first is %q", maxUnknownFields, unknown[0])
	}
	known := fieldNamesOf(reflect.TypeOf(v))
	for _, path := range slices.Sorted(maps.Keys(names)) {
		name := path[strings.LastIndexByte(path, '.')+1:]
		if field, ok := known[fold(name)]; ok && field != name {
			return fmt.Errorf("field %q differs from %q in case", path, field)
		}
	}
	return nil
}

// DecodeKnown reads the only JSON value in data into v, and reports whether there are fields that v's type
// does not have. It does not check those: if there are any, use DecodeOpen.
func DecodeKnown(data []byte, v any) (open bool, err error) {
	unknown, err := decode(data, v)
	return len(unknown) > 0, err
}

// decode reads data into v and returns the paths of the fields that v's type does not have.
func decode(data []byte, v any) ([]string, error) {
	if err := scan(data); err != nil {
		return nil, err
	}
	strict, err := sigsjson.UnmarshalStrict(data, v, sigsjson.DisallowUnknownFields)
	if err != nil {
		return nil, err
	}
	paths := make([]string, 0, len(strict))
	for _, e := range strict {
		var field sigsjson.FieldError
		if !errors.As(e, &field) {
			return nil, e
		}
		paths = append(paths, field.FieldPath())
	}
	return paths, nil
}

// fieldNames caches, for each type that was decoded, the names of all fields in it by their lower-case form.
var fieldNames sync.Map // reflect.Type -> map[string]string

func fieldNamesOf(t reflect.Type) map[string]string {
	if names, ok := fieldNames.Load(t); ok {
		return names.(map[string]string)
	}
	names := map[string]string{}
	collectFieldNames(t, names, map[reflect.Type]bool{})
	fieldNames.Store(t, names)
	return names
}

// fold returns the same form for all names that Go's decoder treats as equal. It folds case as Unicode does,
// for example the long s and the kelvin sign.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return least
	}, name)
}

func collectFieldNames(t reflect.Type, names map[string]string, seen map[reflect.Type]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		collectFieldNames(t.Elem(), names, seen)
	case reflect.Struct:
		if seen[t] {
			return
		}
		seen[t] = true
		for i := range t.NumField() {
			field := t.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "" && name != "-" {
				names[fold(name)] = name
			}
			collectFieldNames(field.Type, names, seen)
		}
	}
}

// Check reports whether data is one JSON value in UTF-8 without a key that occurs twice in one object and
// without nesting deeper than MaxDepth or more than MaxValues values.
func Check(data []byte) error {
	if err := scan(data); err != nil {
		return err
	}
	if json.Valid(data) {
		return nil
	}
	var raw json.RawMessage // the cheapest way to get Go's own error with its offset
	return json.Unmarshal(data, &raw)
}
