// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// FuzzReadsAsItself compares the short cut with Tekton's own function.
func FuzzReadsAsItself(f *testing.F) {
	for _, raw := range []string{
		"", "text", "null", "nothing", "true", "12", "-1", "1e9", `"quoted"`, " x", "\t[]", "[", "[]", `["a"]`, "[1]", "{",
		"{}",
		`{"a":"b"}`, `{"a":1}`, "\ufeff[]", "\x00", "\xff", "\v[]", "\u2028", "sha256:2c26", "a\nb", `'x'`, "ünicode", "\n",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var v v1.ParamValue
		err := v.UnmarshalJSON([]byte(raw))
		want := err == nil && v.Type == v1.ParamTypeString && v.StringVal == raw
		if got := readsAsItself(raw); got != want {
			t.Errorf("%q: got %v, Tekton %v", raw, got, want)
		}
	})
}
