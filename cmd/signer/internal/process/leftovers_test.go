// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDescendants(t *testing.T) {
	parentOf := map[int]int{
		1: 0, 10: 1, // the signer is 10
		11: 10, 12: 11, 13: 12,
		20: 1, 21: 20,
		30: 31, 31: 30, // a loop
		40: 41, // its parent has ended
	}
	got := descendants(10, parentOf)
	slices.Sort(got)
	if diff := cmp.Diff([]int{11, 12, 13}, got); diff != "" {
		t.Errorf("descendants differ (-want +got):\n%s", diff)
	}
}

func TestParentIn(t *testing.T) {
	for stat, want := range map[string]int{
		"12 (sleep) S 7 12 12 0":        7,
		"12 (a) S 1 (b)) Z 8 12 12 0":   8,
		"12 (with\nline) feed) R 9 1 1": 9,
	} {
		if got, ok := parentIn([]byte(stat)); !ok || got != want {
			t.Errorf("parentIn(%q) = %d, %v, want %d", stat, got, ok, want)
		}
	}
	for _, stat := range []string{"", "12 (sleep", "12 (sleep)", "12 (sleep) S", "12 (sleep) S x"} {
		if got, ok := parentIn([]byte(stat)); ok {
			t.Errorf("parentIn(%q) = %d, want none", stat, got)
		}
	}
}

func TestParentsKnowsThisProcess(t *testing.T) {
	if got, want := parents()[os.Getpid()], os.Getppid(); got != want {
		t.Errorf("parent %d, want %d", got, want)
	}
}
