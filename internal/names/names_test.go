// SPDX-License-Identifier: Apache-2.0

package names

import (
	"strings"
	"testing"
)

func TestFirst(t *testing.T) {
	for _, tc := range []struct {
		list []string
		n    int
		want string
	}{
		{nil, 2, ""},
		{[]string{"b"}, 2, "b"},
		{[]string{"b", "a"}, 2, "b, a"},
		{[]string{"b", "a", "c", "d"}, 2, "b, a and 2 more"},
	} {
		if got := First(tc.list, tc.n); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.list, got, tc.want)
		}
	}
}

func TestFew(t *testing.T) {
	list := strings.Split("l k j i h g f e d c b a", " ")
	if got, want := Few(list), "a, b, c, d, e, f, g, h, i, j and 2 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if list[0] != "l" {
		t.Errorf("the list of the caller was sorted: %q", list)
	}
}
