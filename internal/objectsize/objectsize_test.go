// SPDX-License-Identifier: Apache-2.0

package objectsize

import (
	"strings"
	"testing"
)

func TestFits(t *testing.T) {
	most := Stored("ci", "build")
	for size, want := range map[int]bool{12_000: true, most: true, most + 1: false, 1_572_864: false} {
		if got := Fits("ci", "build", size); got != want {
			t.Errorf("%d: got %v", size, got)
		}
	}
}

func TestReviewable(t *testing.T) {
	for old, want := range map[int]bool{0: true, Reviewed - 1_000: true, Reviewed - 999: false} {
		if got := Reviewable(old, 1_000); got != want {
			t.Errorf("%d: got %v", old, got)
		}
	}
}

// TestStored compares with what an API server with etcd took of a TaskRun that it created: a request to create names
// the key twice only, and the answer has a resource version of 27 bytes, which is not stored.
func TestStored(t *testing.T) {
	for _, c := range []struct {
		namespace, name string
		taken           int
	}{{"m", "a", 1_572_784}, {strings.Repeat("m", 60), strings.Repeat("a", 60), 1_572_545}} {
		update := c.taken - 27 - len(etcdKey) - len(c.namespace) - len(c.name)
		if got := Stored(c.namespace, c.name); got > update || got < update-300 {
			t.Errorf("%s/%s: got %d, want a little less than %d", c.namespace, c.name, got, update)
		}
	}
}

func TestUnreviewable(t *testing.T) {
	for size, want := range map[int]bool{10_000: false, 1_550_000: false, 1_567_000: true, 1_572_864: true} {
		if got := Unreviewable(size); got != want {
			t.Errorf("%d: got %v", size, got)
		}
	}
}
