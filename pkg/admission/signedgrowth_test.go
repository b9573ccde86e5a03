// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/objectsize"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// maxSignature is the most that a signed status adds to a TaskRun, with the verdict: no more for a large one.
const maxSignature = 6 << 10

// largeStatus gives a status this many bytes of results.
func largeStatus(size int) func(fields) {
	return func(status fields) {
		const each = 4 << 10
		var results []any
		for n := range size / each {
			results = append(results, fields{
				"name": fmt.Sprintf("result-%d", n), "type": "string", "value": strings.Repeat("v", each-60),
			})
		}
		status["results"] = results
	}
}

// TestSignedStatusGrowth writes signed statuses of growing TaskRuns: what the signature adds does not grow with them,
// each can be stored, and a write of what is stored changes nothing, so that no writer starts a loop.
func TestSignedStatusGrowth(t *testing.T) {
	for _, size := range []int{16 << 10, 256 << 10, 1 << 20, 1400 << 10} {
		s := newStatusSigning(t)
		submitted := done(largeStatus(size))
		stored := s.write(t, tekton, run("Unknown", nil), submitted)
		s.wantSigned(t, fmt.Sprint(size), stored)
		before, after := len(raw(t, submitted).Raw), len(raw(t, stored).Raw)
		if after-before > maxSignature {
			t.Errorf("%d bytes: expected at most %d more, got %d", before, maxSignature, after-before)
		}
		if !objectsize.Fits("ci", "build", after) {
			t.Errorf("%d bytes: %d cannot be stored", before, after)
		}
		for range 3 {
			again := s.write(t, tekton, stored, stored)
			if diff := cmp.Diff(stored, again); diff != "" {
				t.Fatalf("%d bytes: a write of what is stored changes it:\n%s", before, diff)
			}
		}
		if len(s.outcomes) != 1 {
			t.Errorf("%d bytes: signed %d times", before, len(s.outcomes))
		}
	}
}

// TestSignedStatusWrites writes a large TaskRun over and over, with a change each time, and from an old view: what is
// stored does not grow, and each write is signed once.
func TestSignedStatusWrites(t *testing.T) {
	s := newStatusSigning(t)
	submitted := done(largeStatus(256 << 10))
	stored := s.write(t, tekton, run("Unknown", nil), submitted)
	first := len(raw(t, stored).Raw)
	const writes = 8
	for n := range writes {
		s.rotate(t)
		view := stored
		if n%2 == 1 {
			view = submitted // without the add-on's marks
		}
		stored = s.write(t, tekton, stored, edit(t, view, func(status fields) {
			status["sidecars"] = []any{fields{"name": fmt.Sprintf("sidecar-%02d", n)}}
		}))
		s.wantSigned(t, fmt.Sprint(n), stored)
		if got := len(raw(t, stored).Raw); got > first+256 {
			t.Fatalf("write %d: %d bytes became %d", n, first, got)
		}
	}
	if len(s.outcomes) != writes+1 || len(marksIn(stored)) == 0 || marksIn(stored)[signing.StatusNotVerified] != nil {
		t.Errorf("expected %d signatures, got %d, marks %v", writes+1, len(s.outcomes), marksIn(stored))
	}
}
