// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// statusSigning is a status webhook whose add-on has an SVID.
type statusSigning struct {
	*StatusHandler

	cluster  *verifytest.Cluster
	trusted  *trust.Cluster // nil: the add-on knows no authorities
	svid     *x509svid.SVID // nil: the agent does not answer
	verifier *fakeVerifier
	backend  signing.Backend
	outcomes []error
}

// GetX509SVID implements x509svid.Source.
func (s *statusSigning) GetX509SVID() (*x509svid.SVID, error) {
	if s.svid == nil {
		return nil, errors.New("the agent does not answer")
	}
	return s.svid, nil
}

func newStatusSigning(t *testing.T) *statusSigning {
	t.Helper()
	s := &statusSigning{cluster: &verifytest.Cluster{}, verifier: &fakeVerifier{result: verified()},
		backend: signing.BackendSPIRE}
	var err error
	if s.cluster, err = verifytest.NewCluster(); err != nil {
		t.Fatal(err)
	}
	if s.cluster.CA, err = verifytest.NewCA(verifytest.TrustDomain); err != nil {
		t.Fatal(err)
	}
	if s.trusted, err = s.cluster.Trust(); err != nil {
		t.Fatal(err)
	}
	s.rotate(t)
	s.StatusHandler = newStatusHandler(s.verifier)
	s.Scope, s.Now = fakeScope{backend: signing.BackendSPIRE}, verifytest.StatusSignedAt
	s.OnSigned = func(err error) { s.outcomes = append(s.outcomes, err) }
	s.Signer = spirecluster.NewStatus(spirecluster.RegistrarOptions{
		Settings: func() settings.Settings {
			current := settings.Default()
			current.Backend, current.SPIRE.TrustDomain = s.backend, verifytest.TrustDomain
			return current
		},
		Trusted: func() *trust.Cluster { return s.trusted }, Now: verifytest.StatusSignedAt,
	}, s)
	return s
}

// rotate gives the add-on another SVID, as after a restart.
func (s *statusSigning) rotate(t *testing.T) {
	t.Helper()
	key, chain, err := s.cluster.CA.AddOnSVID()
	if err != nil {
		t.Fatal(err)
	}
	id, err := spiffeid.FromURI(chain[0].URIs[0])
	if err != nil {
		t.Fatal(err)
	}
	s.svid = &x509svid.SVID{ID: id, Certificates: chain, PrivateKey: key}
}

// write returns what is stored after a write by a user.
func (s *statusSigning) write(t *testing.T, by string, old, submitted fields) fields {
	t.Helper()
	request := statusWrite(t, old, submitted)
	request.UserInfo.Username = by
	return stored(t, s.Admit(t.Context(), request), request.Object)
}

// done is a TaskRun that has completed.
func done(change func(fields)) fields {
	return run("True", func(s fields) {
		s["completionTime"] = verifytest.StatusSignedAt().Format(time.RFC3339)
		if change != nil {
			change(s)
		}
	})
}

// complete returns a TaskRun as it is stored after Tekton's controller completed it.
func (s *statusSigning) complete(t *testing.T) fields {
	t.Helper()
	return s.write(t, tekton, run("Unknown", nil), done(nil))
}

// edit returns a copy of a TaskRun with another status.
func edit(t *testing.T, object fields, change func(status fields)) fields {
	t.Helper()
	var copied fields
	if err := json.Unmarshal(raw(t, object).Raw, &copied); err != nil {
		t.Fatal(err)
	}
	change(copied["status"].(fields))
	return copied
}

func marksIn(object fields) fields {
	annotations, _ := object["status"].(fields)["annotations"].(fields)
	return annotations
}

// wantSigned wants a signature that is good for the TaskRun as it is stored.
func (s *statusSigning) wantSigned(t *testing.T, what string, object fields) {
	t.Helper()
	if err := s.Signer.VerifyStatusInternalAnnotation(t.Context(), typed(t, object)); err != nil {
		t.Errorf("%s: the signature is not good: %v", what, err)
	}
}

func typed(t *testing.T, object fields) *v1.TaskRun {
	t.Helper()
	tr := &v1.TaskRun{}
	if err := json.Unmarshal(raw(t, object).Raw, tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

// wantUnsigned wants no signature, and no note.
func wantUnsigned(t *testing.T, what string, object fields) {
	t.Helper()
	for key := range marksIn(object) {
		if strings.HasPrefix(key, "tekton.dev/") {
			t.Errorf("%s: there is the annotation %s", what, key)
		}
	}
}

// wantChanged wants a note that the status was changed, and the verdict FAILED.
func wantChanged(t *testing.T, what string, object fields) {
	t.Helper()
	if marksIn(object)[cluster.StatusNotVerified] == nil {
		t.Errorf("%s: nothing notes the change", what)
	}
	ours := ourConditions(object)
	if len(ours) != 1 || ours[0]["status"] != "False" || !strings.Contains(ours[0]["message"].(string), "status-signature") {
		t.Errorf("%s: got the conditions %v, expected FAILED status-signature", what, ours)
	}
}

// The write that completes a TaskRun is signed with its condition, and so are later ones of Tekton's controller.
func TestStatusIsSigned(t *testing.T) {
	s := newStatusSigning(t)
	first := s.complete(t)
	s.wantSigned(t, "completed", first)
	if len(s.outcomes) != 1 || s.outcomes[0] != nil || len(ourConditions(first)) != 1 {
		t.Errorf("outcomes %v, conditions %v", s.outcomes, ourConditions(first))
	}
	again := s.write(t, tekton, first, first)
	if diff := marksIn(again)[cluster.StatusHash]; diff != marksIn(first)[cluster.StatusHash] || len(s.outcomes) != 1 {
		t.Errorf("signed again without a change: %d times", len(s.outcomes))
	}
	s.rotate(t)
	later := s.write(t, tekton, first, edit(t, first, func(status fields) { status["sidecars"] = []any{fields{"name": "x"}} }))
	s.wantSigned(t, "a later write of Tekton", later)
	if marksIn(later)[cluster.StatusHash] == marksIn(first)[cluster.StatusHash] {
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
			status["annotations"].(fields)[cluster.StatusHash] = strings.Repeat("0", 64)
		},
	}
	for name, change := range changes {
		s := newStatusSigning(t)
		first := s.complete(t)
		changed := s.write(t, "alice", first, edit(t, first, change))
		wantChanged(t, name, changed)
		if len(s.outcomes) != 1 || marksIn(changed)[cluster.StatusHash] != marksIn(first)[cluster.StatusHash] {
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

func (s *statusSigning) wantVerdict(t *testing.T, object fields) {
	t.Helper()
	if ours := ourConditions(object); len(ours) != 1 || ours[0]["status"] != "True" {
		t.Errorf("got the conditions %v, expected VERIFIED", ours)
	}
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
	noted := edit(t, done(nil), func(status fields) { status["annotations"] = fields{cluster.StatusNotVerified: "no"} })
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

// largest returns the largest number for which ok holds.
func largest(t *testing.T, ok func(int) bool) int {
	t.Helper()
	low, high := 100, 4<<20
	for low+1 < high {
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
