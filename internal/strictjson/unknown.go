// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Unknown returns the paths of the fields in data that v's type does not have, without repetitions. In a
// path, [] stands for the elements of a list and * for the members of a map. Go's own strict decoder would
// report every occurrence and stop at 100.
func Unknown(data []byte, v any) (map[string]bool, error) {
	w := &walker{d: json.NewDecoder(bytes.NewReader(data)), unknown: map[string]bool{}}
	w.d.UseNumber()
	err := w.value(reflect.TypeOf(v), "")
	return w.unknown, err
}

// walker walks over JSON and a Go type in parallel.
type walker struct {
	d       *json.Decoder
	unknown map[string]bool
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// value walks over the next value. t is nil if its type is unknown. Types with their own decoder are not
// checked.
func (w *walker) value(t reflect.Type, path string) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || reflect.PointerTo(t).Implements(unmarshaler) || t.Kind() == reflect.Interface {
		var raw json.RawMessage
		return w.d.Decode(&raw)
	}
	token, err := w.d.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		err = w.object(t, path)
	case json.Delim('['):
		err = w.list(t, path)
	default:
		return nil
	}
	if err == nil {
		_, err = w.d.Token() // the closing bracket
	}
	return err
}

func (w *walker) object(t reflect.Type, path string) error {
	var fields map[string]reflect.Type
	if t.Kind() == reflect.Struct {
		fields = map[string]reflect.Type{}
		membersOf(t, fields)
	}
	for w.d.More() {
		token, err := w.d.Token()
		if err != nil {
			return err
		}
		key := fmt.Sprint(token)
		member, inside := fields[key], strings.TrimPrefix(path+"."+key, ".")
		switch {
		case fields == nil && t.Kind() == reflect.Map:
			member, inside = t.Elem(), path+".*"
		case member == nil && len(w.unknown) <= maxUnknownFields:
			w.unknown[inside] = true
		}
		if err := w.value(member, inside); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) list(t reflect.Type, path string) error {
	var element reflect.Type
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		element = t.Elem()
	}
	for w.d.More() {
		if err := w.value(element, path+"[]"); err != nil {
			return err
		}
	}
	return nil
}

// membersOf collects the members of a struct and of its embedded structs by their JSON names.
func membersOf(t reflect.Type, members map[string]reflect.Type) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		embedded := field.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		switch {
		case name == "-":
		case name == "" && field.Anonymous && embedded.Kind() == reflect.Struct:
			membersOf(embedded, members)
		case !field.IsExported():
		case name == "":
			members[field.Name] = field.Type
		default:
			members[name] = field.Type
		}
	}
}
