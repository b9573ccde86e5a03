// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"testing"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// A declaration counts as kept where it stood there before the write that completes the TaskRun.
func TestPinnedDeclaration(t *testing.T) {
	declares := func(kind string) func(fields) {
		return func(s fields) {
			s["taskSpec"] = fields{"results": []any{fields{"name": "digest", "type": kind}}}
		}
	}
	for name, test := range map[string]struct {
		old, submitted fields
		want           bool
	}{
		"set before": {run("Unknown", declares("string")), run("True", declares("string")), true},
		// it is put back
		"changed by the write":          {run("Unknown", declares("string")), run("True", declares("array")), true},
		"set by the write":              {run("Unknown", nil), run("True", declares("string")), false},
		"completed while nobody looked": {run("True", declares("string")), run("True", declares("string")), false},
		"no declaration":                {run("Unknown", nil), run("True", nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			v := &fakeVerifier{result: verified()}
			newStatusHandler(v).Admit(t.Context(), statusWrite(t, test.old, test.submitted))
			if v.calls != 1 || v.facts.Pinned != test.want {
				t.Errorf("expected one judgement with pinned %v, got %d with %v", test.want, v.calls, v.facts.Pinned)
			}
		})
	}
}

// A verdict never rests on an earlier record.
func TestRecordIsNotJudged(t *testing.T) {
	recorded := run("True", func(s fields) { s["annotations"] = fields{record.Annotation: "v1.x.y", "other": "z"} })
	v := &fakeVerifier{result: verified()}
	newStatusHandler(v).Admit(t.Context(), statusWrite(t, recorded, recorded))
	if v.calls != 1 {
		t.Fatalf("expected one judgement, got %d", v.calls)
	}
	if annotations := v.taskRun.Status.Annotations; len(annotations) != 0 {
		t.Errorf("expected no annotations, got %v", annotations)
	}
}

// TestPodBeforeTheFence: a pod that is older than the grant of its namespace proves nothing by its owner.
func TestPodBeforeTheFence(t *testing.T) {
	for name, c := range map[string]struct {
		since    time.Time
		granted  bool
		unfenced bool
	}{
		"granted before":  {testNow().Add(-time.Second), true, false},
		"granted with it": {testNow(), true, true}, // times are whole seconds: the pod may be older
		"granted after":   {testNow().Add(time.Second), true, true},
		"not granted":     {testNow().Add(-time.Hour), false, true}, // the pod is reported: no token is needed
	} {
		verifier := &fakeVerifier{result: verified()}
		h := newStatusHandler(verifier)
		h.Since = func(string) (time.Time, bool) { return c.since, c.granted }
		h.Admit(t.Context(), statusWrite(t, run("Unknown", nil), run("True", nil)))
		if verifier.calls != 1 || verifier.facts.Pod == nil || verifier.facts.Pod.Unfenced != c.unfenced {
			t.Errorf("%s: judged %d times, with %+v", name, verifier.calls, verifier.facts.Pod)
		}
	}
}
