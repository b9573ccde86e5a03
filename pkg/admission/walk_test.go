// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzWalk holds it to what encoding/json reads. What is not JSON leads to an error or to anything, but ends.
func FuzzWalk(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, ` { "a" : 1 , "b\"\\" : [ {"c":"}"} , null ] } `, `[1,"\\","\"]",{"a":[[]]}]`, `{"a":1,"a":2}`,
		`{"\u0061":true}`,
		`"x"`, `5`, `{`, `[1`, `{"a"}`, `{"a":}`, `[,]`, `[1,]`, `{"a":1]`, ``, `{"` + strings.Repeat(`\\`, 100) + `":"` +
			strings.Repeat("x", 200) + `"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		object, objectErr := members(raw)
		list, listErr := elements(raw)
		if !json.Valid(raw) {
			return
		}
		var wantObject map[string]json.RawMessage
		if err := json.Unmarshal(raw, &wantObject); (err == nil && wantObject != nil) != (objectErr == nil) {
			t.Fatalf("object: expected %v, got %v", err, objectErr)
		}
		for key, value := range wantObject {
			if !bytes.Equal(bytes.TrimSpace(value), object[key]) || len(object) != len(wantObject) {
				t.Errorf("member %q: expected %s, got %s", key, value, object[key])
			}
		}
		var wantList []json.RawMessage
		if err := json.Unmarshal(raw, &wantList); (err == nil && wantList != nil) != (listErr == nil) {
			t.Fatalf("list: expected %v, got %v", err, listErr)
		}
		for i, value := range wantList {
			if len(list) != len(wantList) || !bytes.Equal(value, list[i]) {
				t.Errorf("element %d: expected %s, got %s", i, value, list)
			}
		}
	})
}

func TestWalkRefuses(t *testing.T) {
	for _, raw := range []string{``, ` `, `5`, `"x"`, `{"a"}`, `{"a":}`, `[,]`, `{5:1}`, `[1] x`, `null`} {
		if got, err := members([]byte(raw)); err == nil {
			t.Errorf("%s: got members %v", raw, got)
		}
		if got, err := elements([]byte(raw)); err == nil {
			t.Errorf("%s: got elements %v", raw, got)
		}
	}
}
