// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
}

type outer struct {
	Kind  string  `json:"kind"`
	Items []inner `json:"items"`
}

func TestDecode(t *testing.T) {
	want := outer{Kind: "k", Items: []inner{{Name: "n", Labels: map[string]string{"Name": "1", "name": "2"}}}}
	const text = ` {"kind":"k","items":[{"name":"n","labels":{"Name":"1","name":"2"}}]} `
	for name, decode := range map[string]func([]byte, any) error{"strict": Decode, "open": DecodeOpen} {
		var got outer
		if err := decode([]byte(text), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: differs (-want +got):\n%s", name, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string
		open       bool // DecodeOpen also refuses it
	}{
		"empty":              {"", "unexpected end", true},
		"truncated":          {`{"kind":"k"`, "unexpected end", true},
		"trailing data":      {`{"kind":"k"} {}`, "invalid character", true},
		"trailing brace":     {`{"kind":"k"}}`, "invalid character", true},
		"wrong type":         {`{"kind":1}`, "cannot unmarshal", true},
		"duplicate":          {`{"kind":"k","kind":"k"}`, `key "kind" occurs twice`, true},
		"escaped duplicate":  {`{"kind":"k","k\u0069nd":"x"}`, `key "kind" occurs twice`, true},
		"duplicate in array": {`{"items":[{"name":"a","name":"b"}]}`, `key "name" occurs twice`, true},
		"duplicate in map":   {`{"items":[{"labels":{"a":"1","a":"2"}}]}`, `key "a" occurs twice`, true},
		"duplicate unknown":  {`{"x":{"a":1,"b":[],"a":2}}`, `key "a" occurs twice`, true},
		"case variant":       {`{"Kind":"k"}`, `"Kind"`, true},
		"both cases":         {`{"kind":"k","KIND":"k"}`, `"KIND"`, true},
		"inner case variant": {`{"items":[{"nAme":"a"}]}`, `nAme`, true},
		"unknown":            {`{"colour":"red"}`, `unknown field "colour"`, false},
		"too many":           {"[" + strings.Repeat("1,", MaxValues) + "1]", "more than 100000 values", true},
		"too deep":           {strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), "nested deeper", true},
	} {
		var v outer
		err := Decode([]byte(c.text), &v)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Decode: got error %v, want one with %q", name, err, c.want)
		}
		if err := DecodeOpen([]byte(c.text), &v); (err != nil) != c.open {
			t.Errorf("%s: DecodeOpen: got error %v, want one: %v", name, err, c.open)
		}
	}
}

func TestManyUnknownFieldsAreRefused(t *testing.T) {
	fields := map[string]int{"Kind": 1}
	for i := range 200 {
		fields["a"+strings.Repeat("x", i)] = i
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	if err := DecodeOpen(text, &outer{}); err == nil {
		t.Error("200 unknown fields are accepted: a case variant can hide behind them")
	}
}

func TestCheckAllowsTheDeepestNesting(t *testing.T) {
	if err := Check([]byte(strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth))); err != nil {
		t.Error(err)
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":{"b":[1,"\"",{}]},"c":"]}"}`, `{"a":1,"a":2}`, `[[[`, `"\u0061"`, `null`,
		"{\"\xff\":1,\"\xfe\":2}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := Check(data); err != nil {
			return
		}
		// Accepted text has no duplicate, so every key in the text is decoded.
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		var v any
		if err := decoder.Decode(&v); err != nil {
			t.Fatalf("accepted, but encoding/json says: %v", err)
		}
		if got, want := countRawKeys(data), countKeys(v); got != want {
			t.Errorf("accepted with %d keys, of which %d are read", got, want)
		}
	})
}

func countKeys(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		n = len(v)
		for _, e := range v {
			n += countKeys(e)
		}
	case []any:
		for _, e := range v {
			n += countKeys(e)
		}
	}
	return n
}

// countRawKeys counts the colons outside of strings: one for each key.
func countRawKeys(data []byte) int {
	n, text := 0, false
	for i := 0; i < len(data); i++ {
		switch {
		case text && data[i] == '\\':
			i++
		case data[i] == '"':
			text = !text
		case !text && data[i] == ':':
			n++
		}
	}
	return n
}

func TestTextThatTwoReadersReadInTwoWays(t *testing.T) {
	type object struct {
		Status string `json:"status"`
		Kind   string `json:"kind"`
	}
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"plain":                     {`{"status":"a"}`, true},
		"unknown":                   {`{"other":"a"}`, true},
		"long s":                    {`{"\u017ftatus":"a"}`, false},
		"long s, not escaped":       {"{\"\u017ftatus\":\"a\"}", false},
		"sign of kelvin":            {"{\"\u212aind\":\"a\"}", false},
		"pair":                      {`{"status":"\ud83d\ude00"}`, true},
		"high half":                 {`{"status":"\ud83d"}`, false},
		"high half and text":        {`{"status":"\ud83dude00"}`, false},
		"low half":                  {`{"status":"\ude00"}`, false},
		"two high halves":           {`{"status":"\ud83d\ud83d"}`, false},
		"escaped backslash, then u": {`{"status":"\\ud83d"}`, true},
		"half in a key":             {`{"\ud83d":"a"}`, false},
		"invalid UTF-8":             {"{\"status\":\"\xff\"}", false},
		"encoded surrogate":         {"{\"status\":\"\xed\xa0\x80\"}", false},
		"17 keys, one of them twice": {
			`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1,"a":1}`,
			false,
		},
		"17 keys, the last one twice": {
			`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1,"q":1}`,
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var o object
			if err := DecodeOpen([]byte(c.text), &o); (err == nil) != c.ok {
				t.Errorf("%s: %v", c.text, err)
			}
		})
	}
}

func TestPeek(t *testing.T) {
	for text, want := range map[string]map[string]string{
		`{"kind":"A","apiVersion":"v1"}`:                       {"kind": "A", "apiVersion": "v1"},
		`{ "apiVersion" : "v1" , "x":{"kind":"B"},"kind":"A"}`: {"kind": "A", "apiVersion": "v1"},
		`{"x":"kind","kind":"\u0041"}`:                         {"kind": "A"},
		`{"kind":1}`:                                           {"kind": ""},
		`{"kind":"A`:                                           {"kind": ""},
		`["kind","A"]`:                                         {},
		`}{"kind":"A"}`:                                        {"kind": "A"},
		``:                                                     {},
		`"`:                                                    {},
		`{"kind"`:                                              {"kind": ""},
	} {
		if diff := cmp.Diff(want, Peek([]byte(text), "kind", "apiVersion")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
