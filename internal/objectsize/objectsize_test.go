// SPDX-License-Identifier: Apache-2.0

package objectsize

import "testing"

func TestFits(t *testing.T) {
	for name, c := range map[string]struct {
		old, size int
		want      bool
	}{
		"small":             {10_000, 12_000, true},
		"the most":          {0, Stored, true},
		"one more":          {0, Stored + 1, false},
		"what etcd refuses": {0, 1_572_864, false},
		"both":              {Stored, Reviewed - Stored, true},
		"both and one more": {Stored, Reviewed - Stored + 1, false},
	} {
		if got := Fits(c.old, c.size); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestUnreviewable(t *testing.T) {
	for size, want := range map[int]bool{10_000: false, 1 << 20: false, 1_550_000: false, 1_567_000: true, 1_572_864: true} {
		if got := Unreviewable(size); got != want {
			t.Errorf("%d: got %v", size, got)
		}
	}
}
