// SPDX-License-Identifier: Apache-2.0

package canonical

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestJSON(t *testing.T) {
	got, err := JSON(map[string]any{"b": []any{1.0, "<ü>"}, "a": map[string]any{"z": nil, "y": true}})
	if want := `{"a":{"y":true,"z":null},"b":[1,"<ü>"]}`; string(got) != want || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if got, err := JSON(func() {}); err == nil {
		t.Errorf("a function: got %s", got)
	}
}

func TestCheck(t *testing.T) {
	object := func(members int) map[string]any {
		o := map[string]any{}
		for i := range members {
			o[fmt.Sprint(i)] = "x"
		}
		return o
	}
	for name, tc := range map[string]struct {
		value any
		good  bool
	}{
		"text": {"x", true}, "at the limit": {object(MaxMembers), true}, "above": {object(MaxMembers + 1), false},
		"the largest integer": {[]any{json.Number("9007199254740991"), json.Number("-9007199254740991")}, true},
		"a larger one":        {map[string]any{"a": json.Number("9007199254740992")}, false},
		"a smaller one":       {json.Number("-9007199254740992"), false},
		"one beyond 64 bits":  {json.Number("36893488147419103232"), false},
		"a fraction":          {json.Number("0.1"), false},
		"above, nested":       {[]any{map[string]any{"a": []any{object(MaxMembers + 1)}}}, false},
	} {
		if err := Check(tc.value); (err == nil) != tc.good {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
