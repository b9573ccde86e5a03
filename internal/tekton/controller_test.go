// SPDX-License-Identifier: Apache-2.0

package tekton

import "testing"

func TestFlagValue(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		want  string
		found bool
	}{
		"apart":             {[]string{"/controller", "-image", "a", "b"}, "a", true},
		"joined":            {[]string{"--image=a=b"}, "a=b", true},
		"without a value":   {[]string{"-image"}, "", true},
		"an empty value":    {[]string{"-image=", "a"}, "", true},
		"the first counts":  {[]string{"-image=a", "-image=b"}, "a", true},
		"another's value":   {[]string{"-other", "image"}, "", false},
		"a longer name":     {[]string{"-images=a"}, "", false},
		"too many hyphens":  {[]string{"---image=a"}, "", false},
		"nothing of a kind": {nil, "", false},
	} {
		if got, found := FlagValue(c.args, "image"); got != c.want || found != c.found {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, found, c.want, c.found)
		}
	}
}
