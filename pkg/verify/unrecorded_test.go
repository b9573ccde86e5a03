// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

const podUID = "3db15e48-971f-4815-84b3-272e52f61a10"

// withLivePod returns the facts about a TaskRun whose own pod exists.
func withLivePod(tr *v1.TaskRun) verify.Facts {
	return verify.Facts{Live: true, Pod: &verify.PodFacts{Found: true, UID: podUID, ControllerUID: tr.UID}}
}

// The pod that signed does not prove by itself whose pod it was.
func TestUnrecorded(t *testing.T) {
	cluster, err := theCluster().Trust()
	if err != nil {
		t.Fatal(err)
	}
	clock := verify.WithClock(func() time.Time { return verifytest.Start().Add(time.Hour) })
	strict, err := verify.New(cluster, clock)
	if err != nil {
		t.Fatal(err)
	}
	plain := newTaskRun(t, nil)
	gone := verify.Facts{Live: true, Pod: &verify.PodFacts{}}
	anothers := withLivePod(plain)
	anothers.Pod.ControllerUID = "00000000-0000-4000-8000-000000000000"
	withVerdict := func(v verify.Verdict) verifytest.Recording {
		return verifytest.Recording{Result: func(r *verify.Result) { r.Verdict = v }}
	}
	podless := verifytest.Recording{Result: func(r *verify.Result) { r.Identity = nil }}
	for name, c := range map[string]struct {
		tr      *v1.TaskRun
		facts   verify.Facts
		want    verify.Verdict
		reason  string
		allowed verify.Verdict // with WithUnrecorded
	}{
		"a file": {plain, verify.Facts{}, verify.Indeterminate, "record", verify.Verified},
		"v1 in a file": {
			newTaskRun(t, signedAs(signing.FormatV1, byKey)), verify.Facts{}, verify.Indeterminate, "record", verify.Verified,
		},
		"live, nobody looked": {
			plain, verify.Facts{Live: true}, verify.Indeterminate, "record", verify.Verified,
		},
		"live, pod gone":      {plain, gone, verify.Indeterminate, "record", verify.Verified},
		"live, its own pod":   {plain, withLivePod(plain), verify.Verified, "", verify.Verified},
		"live, another's pod": {plain, anothers, verify.Failed, "pod", verify.Failed},
		"a pod beside a file": {
			plain, verify.Facts{Pod: withLivePod(plain).Pod}, verify.Indeterminate, "record", verify.Verified,
		},
		"recorded, in a file": {
			newRecorded(t, nil, verifytest.Recording{}), verify.Facts{}, verify.Verified, "", verify.Verified,
		},
		"recorded, pod gone": {
			newRecorded(t, nil, verifytest.Recording{}), gone, verify.Verified, "", verify.Verified,
		},
		"recorded as INDETERMINATE": {
			newRecorded(t, nil, withVerdict(verify.Indeterminate)), verify.Facts{}, verify.Indeterminate, "record",
			verify.Verified,
		},
		"recorded without having seen the pod": {
			newRecorded(t, nil, podless), verify.Facts{}, verify.Indeterminate, "record", verify.Verified,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := strict.TaskRun(t.Context(), c.tr, c.facts)
			if got.Verdict != c.want || got.Reason != c.reason || got.Unrecorded {
				t.Errorf("expected %s %s, got %s %s, unrecorded %v: %+v", c.want, c.reason, got.Verdict, got.Reason, got.Unrecorded,
					got.Checks)
			}
			if c.reason == "record" && !strings.Contains(got.Message, "--allow-unrecorded") {
				t.Errorf("expected the next step, got %q", got.Message)
			}
			allowed := newVerifier(t).TaskRun(t.Context(), c.tr, c.facts)
			if want := c.want == verify.Indeterminate; allowed.Verdict != c.allowed || allowed.Unrecorded != want {
				t.Errorf("allowed: expected %s, unrecorded %v, got %s, %v", c.allowed, want, allowed.Verdict, allowed.Unrecorded)
			}
		})
	}
}
