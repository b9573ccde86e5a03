// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// The write that completes a TaskRun is signed with its condition, and so are later ones of Tekton's controller.
func TestStatusIsSigned(t *testing.T) {
	s := newStatusSigning(t)
	first := s.complete(t)
	s.wantSigned(t, "completed", first)
	if len(s.outcomes) != 1 || s.outcomes[0] != nil || len(ourConditions(first)) != 1 {
		t.Errorf("outcomes %v, conditions %v", s.outcomes, ourConditions(first))
	}
	again := s.write(t, tekton, first, first)
	if diff := marksIn(again)[signing.StatusHash]; diff != marksIn(first)[signing.StatusHash] || len(s.outcomes) != 1 {
		t.Errorf("signed again without a change: %d times", len(s.outcomes))
	}
	s.rotate(t)
	later := s.write(t, tekton, first, edit(t, first, func(status fields) { status["sidecars"] = []any{fields{"name": "x"}} }))
	s.wantSigned(t, "a later write of Tekton", later)
	if marksIn(later)[signing.StatusHash] == marksIn(first)[signing.StatusHash] {
		t.Error("the signature is the old one")
	}
	stale := s.write(t, tekton, later, edit(t, done(nil), func(status fields) { status["sidecars"] = []any{} }))
	s.wantSigned(t, "a write from an older view, without annotations", stale)
}

// A signature covers whatever the verdict is: one that cannot be flipped.
func TestOtherVerdictsAreSigned(t *testing.T) {
	for _, verdict := range []verify.Verdict{verify.Failed, verify.Unsigned, verify.NoResults, verify.Indeterminate} {
		s := newStatusSigning(t)
		s.verifier.result = verify.Result{Verdict: verdict}
		s.wantSigned(t, string(verdict), s.complete(t))
	}
}

// A write of the record keeps the signature, which does not cover annotations.
func TestRecordKeepsSignature(t *testing.T) {
	s := newStatusSigning(t)
	first := s.complete(t)
	recorded := s.write(t, addOn, first, sealed(edit(t, first, func(status fields) {
		status["annotations"].(fields)[record.Annotation] = "v1.x.y"
	})))
	s.wantSigned(t, "recorded", recorded)
	if marksIn(recorded)[record.Annotation] != "v1.x.y" {
		t.Error("the record was not stored")
	}
	s.wantSigned(t, "a patch that empties the annotations", s.write(t, "alice", recorded,
		edit(t, recorded, func(status fields) { delete(status, "annotations") })))
}

// What somebody else changes is not signed again, and the TaskRun is FAILED for good.
func TestStatusChangedByAnother(t *testing.T) {
	changes := map[string]func(status fields){
		"message of Succeeded": func(status fields) { status["conditions"].([]any)[0].(fields)["message"] = "x" },
		"reason of Succeeded":  func(status fields) { status["conditions"].([]any)[0].(fields)["reason"] = "x" },
		"a condition":          func(status fields) { status["conditions"] = append(status["conditions"].([]any), fields{"type": "x"}) },
		"a result":             func(status fields) { status["results"] = []any{} },
		"provenance":           func(status fields) { status["provenance"] = fields{"refSource": fields{"uri": "x"}} },
		"and with a forged signature": func(status fields) {
			status["sidecars"] = []any{fields{"name": "x"}}
			status["annotations"].(fields)[signing.StatusHash] = strings.Repeat("0", 64)
		},
	}
	for name, change := range changes {
		s := newStatusSigning(t)
		first := s.complete(t)
		changed := s.write(t, "alice", first, edit(t, first, change))
		wantChanged(t, name, changed)
		if len(s.outcomes) != 1 || marksIn(changed)[signing.StatusHash] != marksIn(first)[signing.StatusHash] {
			t.Errorf("%s: signed %d times", name, len(s.outcomes))
		}
		back := s.write(t, "alice", changed, edit(t, first, func(fields) {}))
		wantChanged(t, name+", changed back", back)
		wantChanged(t, name+", then written by Tekton", s.write(t, tekton, changed, first))
		if marksIn(back)[seal.Annotation] == nil {
			t.Errorf("%s: the verdict is not sealed", name)
		}
	}
}

// A change past the webhook shows in the next write.
func TestStatusChangedPastTheWebhook(t *testing.T) {
	for _, by := range []string{tekton, addOn, "alice"} {
		s := newStatusSigning(t)
		past := edit(t, s.complete(t), func(status fields) { status["conditions"].([]any)[0].(fields)["message"] = "x" })
		wantChanged(t, "then written by "+by, s.write(t, by, past, past))
	}
	s := newStatusSigning(t)
	first := s.complete(t)
	other := edit(t, first, func(fields) {})
	other["metadata"] = maps.Clone(other["metadata"].(fields))
	other["metadata"].(fields)["uid"] = podUID
	wantChanged(t, "another TaskRun's signature", s.write(t, tekton, other, other))
}

// Enforce refuses what would make a TaskRun FAILED.
func TestEnforceKeepsSignedStatus(t *testing.T) {
	s := newStatusSigning(t)
	s.Scope = fakeScope{backend: signing.BackendSPIRE, mode: settings.Enforce}
	first := s.complete(t)
	s.wantSigned(t, "enforced", first)
	request := statusWrite(t, first, edit(t, first, func(status fields) {
		status["conditions"].([]any)[0].(fields)["message"] = "x"
	}))
	request.UserInfo.Username = "alice"
	response := s.Admit(t.Context(), request)
	if response.Allowed || !strings.Contains(response.Result.Message, "its status is signed") {
		t.Errorf("allowed %v: %v", response.Allowed, response.Result)
	}
	s.wantSigned(t, "written by Tekton", s.write(t, tekton, first, edit(t, first, func(status fields) {
		status["sidecars"] = []any{fields{"name": "x"}}
	})))
}

// Nothing is signed without an identity, for other backends, for writes of others, while a TaskRun runs, or if the
// completing write did not come to the webhook.
func TestStatusIsNotSigned(t *testing.T) {
	running := run("Unknown", nil)
	for name, tc := range map[string]struct {
		change         func(*statusSigning)
		by             string
		old, submitted fields
		outcomes       int
	}{
		"no SVID":             {func(s *statusSigning) { s.svid = nil }, tekton, running, done(nil), 1},
		"another backend":     {func(s *statusSigning) { s.backend = signing.BackendOIDCSAToken }, tekton, running, done(nil), 0},
		"completed by others": {nil, "alice", running, done(nil), 0},
		"still running":       {nil, tekton, running, run("Unknown", func(s fields) { s["steps"] = []any{} }), 0},
		"completed before":    {nil, tekton, done(nil), done(nil), 0},
		"caught up":           {nil, addOn, done(nil), done(nil), 0},
	} {
		s := newStatusSigning(t)
		if tc.change != nil {
			tc.change(s)
		}
		after := s.write(t, tc.by, tc.old, tc.submitted)
		wantUnsigned(t, name, after)
		if len(s.outcomes) != tc.outcomes {
			t.Errorf("%s: tried %d times, expected %d", name, len(s.outcomes), tc.outcomes)
		}
		if good := after["status"].(fields)["completionTime"] == nil || len(ourConditions(after)) == 1; !good {
			t.Errorf("%s: no verdict", name)
		}
	}
}

// While a TaskRun runs, nobody can leave a signature in its status, and none of another state counts.
func TestSignatureOfRunningTaskRun(t *testing.T) {
	s := newStatusSigning(t)
	first := s.complete(t)
	with := func(status fields) { status["annotations"] = marksIn(first) }
	planted := run("Unknown", with) // past the webhook
	wantUnsigned(t, "written by Tekton", s.write(t, tekton, planted, run("Unknown", with)))
	wantUnsigned(t, "written by others", s.write(t, "alice", run("Unknown", nil), run("Unknown", with)))
	s.wantSigned(t, "completed", s.write(t, tekton, planted, done(func(status fields) {
		with(status)
		status["results"] = []any{}
	})))
}

// A signature whose authority this replica does not know stays while nothing changes, and goes with a change.
func TestSignatureUndecided(t *testing.T) {
	s := newStatusSigning(t)
	first := s.complete(t)
	s.trusted = nil
	kept := s.write(t, tekton, first, first)
	s.wantVerdict(t, kept)
	gone := s.write(t, tekton, first, edit(t, first, func(status fields) { status["sidecars"] = []any{fields{"name": "x"}} }))
	wantUnsigned(t, "changed by Tekton", gone)
	var err error
	if s.trusted, err = s.cluster.Trust(); err != nil {
		t.Fatal(err)
	}
	s.wantSigned(t, "kept", kept)
}

// The signature of Tekton's own signer is left alone, and verified.
func TestTektonsOwnStatusSignature(t *testing.T) {
	s := newStatusSigning(t)
	signedBy := func(change verifytest.StatusSigning) fields {
		change.Tekton = true
		tr := typed(t, done(nil))
		if err := s.cluster.SignStatus(tr, change); err != nil {
			t.Fatal(err)
		}
		return done(func(status fields) {
			annotations := fields{}
			for key, value := range tr.Status.Annotations {
				annotations[key] = value
			}
			status["annotations"] = annotations
		})
	}
	theirs := signedBy(verifytest.StatusSigning{})
	after := s.write(t, tekton, run("Unknown", nil), theirs)
	for key, want := range marksIn(theirs) {
		if marksIn(after)[key] != want {
			t.Errorf("%s was not left alone", key)
		}
	}
	s.wantVerdict(t, after)
	for name, path := range map[string]string{
		"a TaskRun's SVID": "/ns/ci/taskrun/build", "the add-on's SVID": "/tekton-sign/controller",
	} {
		forged := s.write(t, tekton, run("Unknown", nil), signedBy(verifytest.StatusSigning{Path: path}))
		wantChanged(t, name, forged)
	}
	noted := edit(t, done(nil), func(status fields) { status["annotations"] = fields{signing.StatusNotVerified: "no"} })
	wantChanged(t, "noted by Tekton", s.write(t, tekton, run("Unknown", nil), noted))
	wantUnsigned(t, "noted by others", s.write(t, "alice", done(nil), noted))
}

// A TaskRun that has room for no more is stored without a signature.
func TestNoRoomForSignature(t *testing.T) {
	s := newStatusSigning(t)
	large := func(bytes int) fields {
		return done(func(status fields) { status["provenance"] = fields{"x": strings.Repeat("x", bytes)} })
	}
	after := s.write(t, tekton, run("Unknown", nil), large(100))
	s.wantSigned(t, "small", after)
	added := len(raw(t, after).Raw) - len(raw(t, large(100)).Raw)
	// The largest one that is stored with its verdict.
	limit := largest(t, func(bytes int) bool {
		return len(ourConditions(s.write(t, tekton, run("Unknown", nil), large(bytes)))) == 1
	})
	after = s.write(t, tekton, run("Unknown", nil), large(limit))
	wantUnsigned(t, "at the limit", after)
	s.wantVerdict(t, after)
	s.wantSigned(t, "below", s.write(t, tekton, run("Unknown", nil), large(limit-added)))
}

// largest returns the largest number of bytes for which ok holds, with less than 256 to spare.
func largest(t *testing.T, ok func(int) bool) int {
	t.Helper()
	low, high := 1<<20, 2<<20
	for low+256 < high {
		if middle := (low + high) / 2; ok(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// What the record is made of names the check.
func TestChangedStatusIsSealed(t *testing.T) {
	s := newStatusSigning(t)
	first := s.complete(t)
	changed := s.write(t, "alice", first, edit(t, first, func(status fields) { status["sidecars"] = []any{fields{"name": "x"}} }))
	found := unsealed(t, changed)
	if found.Verdict != string(verify.Failed) || !slices.Contains(found.Checks, "status-signature fail") {
		t.Errorf("sealed %+v", found)
	}
}

func unsealed(t *testing.T, object fields) seal.Facts {
	t.Helper()
	of, err := seal.SubjectOf(&unstructured.Unstructured{Object: object})
	if err != nil {
		t.Fatal(err)
	}
	found, err := seal.Open(testKey(), of, sealOf(object).(string))
	if err != nil {
		t.Fatal(err)
	}
	return found
}
