// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"maps"
	"strings"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// sealOf returns the seal that a TaskRun carries.
func sealOf(object fields) any {
	status, _ := object["status"].(fields)
	annotations, _ := status["annotations"].(fields)
	return annotations[seal.Annotation]
}

func withSeal(object fields, value any) fields {
	object = maps.Clone(object)
	object["status"] = maps.Clone(object["status"].(fields))
	object["status"].(fields)["annotations"] = fields{seal.Annotation: value}
	return object
}

// What a replica saw in the write that completed the TaskRun is in the seal.
func TestSealHoldsWhatWasSeen(t *testing.T) {
	declared := func(s fields) { s["taskSpec"] = fields{"results": []any{fields{"name": "digest"}}} }
	result := verified()
	result.Cluster = &verify.ClusterRef{UID: "cluster-uid"}
	result.Checks = []verify.Check{
		{ID: verify.CheckPod, Status: verify.Pass}, {ID: verify.CheckPod, Status: verify.Pass},
		{ID: verify.CheckRecord, Status: verify.Note},
	}
	request := statusWrite(t, run("Unknown", declared), run("True", declared))
	after := stored(t, newStatusHandler(&fakeVerifier{result: result}).Admit(t.Context(), request), request.Object)
	of, err := seal.SubjectOf(&unstructured.Unstructured{Object: after})
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal.Open(testKey(), of, sealOf(after).(string))
	if err != nil {
		t.Fatal(err)
	}
	if got.Verdict != "VERIFIED" || got.PodUID != podUID || got.PodOwner != runUID || !got.Pinned ||
		got.Cluster != "cluster-uid" ||
		len(got.Checks) != 1 || got.Checks[0] != "pod pass" || !got.At.Equal(testNow()) || got.Record != "" {
		t.Errorf("sealed %+v", got)
	}
}

// A TaskRun without results has no condition; the seal says that it was looked at, so that it is not again.
func TestNoResultsAreSealed(t *testing.T) {
	verifier := &fakeVerifier{result: verify.Result{Verdict: verify.NoResults}}
	request := statusWrite(t, run("Unknown", nil), run("True", nil))
	after := stored(t, newStatusHandler(verifier).Admit(t.Context(), request), request.Object)
	if len(ourConditions(after)) != 0 || sealOf(after) == nil {
		t.Fatalf("expected a seal and no condition, got %v", after["status"])
	}
	again := statusWrite(t, after, after)
	if response := newStatusHandler(verifier).Admit(t.Context(), again); len(response.Patch) != 0 || verifier.calls != 1 {
		t.Errorf("looked at %d times, patch %s", verifier.calls, response.Patch)
	}
	// A condition beside it is nobody's.
	forged := stored(t, newStatusHandler(verifier).Admit(t.Context(), again), again.Object)
	forged["status"].(fields)["conditions"] = append(forged["status"].(fields)["conditions"].([]any), oursIs("True"))
	request = statusWrite(t, after, forged)
	if ours := ourConditions(stored(t, newStatusHandler(verifier).Admit(t.Context(), request), request.Object)); len(
		ours) != 0 {
		t.Errorf("a forged condition stays: %v", ours)
	}
}

// What was stored while the webhook was not called is a claim, in whatever form: it is judged again in the next
// write, by anybody.
func TestClaimsAreJudgedAgain(t *testing.T) {
	genuine := sealed(carriedRun(nil))
	otherKey, err := seal.ParseKey([]byte("another key of the same length.."))
	if err != nil {
		t.Fatal(err)
	}
	another := func(change func(fields)) fields {
		o := carriedRun(nil)
		o["metadata"] = maps.Clone(o["metadata"].(fields))
		change(o["metadata"].(fields))
		return sealed(o)
	}
	cut := func(s any) string { return s.(string)[:len(s.(string))-1] }
	failed := sealed(run("True", withOurs("False")))
	older := sealed(carriedRun(func(s fields) { s["results"] = []any{} }))
	for name, old := range map[string]fields{
		"no seal":              carriedRun(nil),
		"another key":          sealedWith(carriedRun(nil), otherKey, seal.Facts{Verdict: "VERIFIED"}),
		"of another TaskRun":   withSeal(carriedRun(nil), sealOf(another(func(m fields) { m["uid"] = podUID }))),
		"of another name":      withSeal(carriedRun(nil), sealOf(another(func(m fields) { m["name"] = "other" }))),
		"of another namespace": withSeal(carriedRun(nil), sealOf(another(func(m fields) { m["namespace"] = "other" }))),
		"of another verdict":   withSeal(carriedRun(nil), sealOf(failed)),
		"of an older state":    withSeal(carriedRun(nil), sealOf(older)),
		"of no condition":      withSeal(carriedRun(nil), sealOf(sealed(run("True", nil)))),
		"cut":                  withSeal(carriedRun(nil), cut(sealOf(genuine))),
		"longer":               withSeal(carriedRun(nil), sealOf(genuine).(string)+"A"),
		"another version":      withSeal(carriedRun(nil), "v2"+sealOf(genuine).(string)[2:]),
		"huge":                 withSeal(carriedRun(nil), "v1."+strings.Repeat("A", 1<<20)+".AA"),
		"no text":              withSeal(carriedRun(nil), 5),
		"changed results":      withSeal(carriedRun(func(s fields) { s["results"] = []any{} }), sealOf(genuine)),
		"another attempt": withSeal(
			carriedRun(func(s fields) { s["retriesStatus"] = []any{fields{"podName": "x"}} }), sealOf(genuine)),
		"twice": withSeal(run("True", func(s fields) { withOurs("True")(s); withOurs("True")(s) }),
			sealOf(genuine)),
		"two ends": withSeal(
			carriedRun(func(s fields) { s["conditions"] = append(s["conditions"].([]any), succeededIs("False")) }),
			sealOf(genuine)),
		"another message": withSeal(
			carriedRun(func(s fields) { s["conditions"].([]any)[1].(fields)["message"] = "VERIFIED" }), sealOf(genuine)),
		"nonsense for a reason": withSeal(carriedRun(func(s fields) { s["conditions"].([]any)[1].(fields)["reason"] = 5 }),
			sealOf(genuine)),
		"a status of their own":   sealed(run("True", withOurs("true"))),
		"awaiting for all time":   sealed(run("True", withOurs("Unknown"))),
		"with a record like that": withRecord(withSeal(carriedRun(nil), "v1.e30.AA"), "v1.x.y"),
	} {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: failing(verify.Failed)}
			response, request := admitAs(t, newStatusHandler(verifier), addOn, old, old)
			after := stored(t, response, request.Object)
			ours := ourConditions(after)
			if len(ours) != 1 || ours[0]["status"] != "False" || verifier.calls != 1 {
				t.Errorf("judged %d times, conditions %v", verifier.calls, ours)
			}
			withoutSeal(t, after)
		})
	}
	verifier := &fakeVerifier{result: failing(verify.Failed)}
	if response, _ := admitAs(t, newStatusHandler(verifier), addOn, genuine, genuine); len(response.Patch) != 0 ||
		verifier.calls != 0 {
		t.Errorf("a genuine one: judged %d times, patch %s", verifier.calls, response.Patch)
	}
}

// Where there is no seal the record stands for it, if it says what the condition says.
func TestRecordStandsForTheSeal(t *testing.T) {
	for name, test := range map[string]struct {
		condition string
		verdict   verify.Verdict
		good      bool
		judged    int
	}{
		"good":                      {"True", verify.Verified, true, 0},
		"bad":                       {"False", verify.Unsigned, true, 0},
		"the condition says better": {"True", verify.Failed, true, 1},
		"the condition says worse":  {"False", verify.Verified, true, 1},
		"not the add-on's":          {"True", verify.Verified, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: failing(verify.Failed)}
			handler := newStatusHandler(verifier)
			handler.Recorded = func(_ context.Context, _ Rules, tr *v1.TaskRun) (verify.Verdict, bool) {
				if tr.Status.Annotations[record.Annotation] != "v1.a" || tr.UID != runUID {
					t.Errorf("asked about %v", tr.Status.Annotations)
				}
				return test.verdict, test.good
			}
			old := run("True", func(s fields) {
				withOurs(test.condition)(
					s)
				s["annotations"] = fields{record.Annotation: "v1.a"}
			})
			response, _ := admitAs(t, handler, tekton, old, old)
			if verifier.calls != test.judged || (len(response.Patch) == 0) != (test.judged == 0) {
				t.Errorf("judged %d times, patch %s", verifier.calls, response.Patch)
			}
		})
	}
}

// In enforce, a claim about what was published is replaced; its results are taken away where they are wrong, not
// where nobody can tell any more, as when the key of the seals was lost and the pod is gone.
func TestClaimsWhereEnforced(t *testing.T) {
	for verdict, taken := range map[verify.Verdict]bool{verify.Indeterminate: false, verify.Failed: true,
		verify.Unsigned: true} {
		response, request := admitAs(t, enforcing(&fakeVerifier{result: failing(verdict)}), addOn, carriedRun(nil),
			carriedRun(nil))
		after := stored(t, response, request.Object)
		_, left := after["status"].(fields)["results"]
		if ours := ourConditions(after); left == taken || len(ours) != 1 || ours[0]["status"] != "False" {
			t.Errorf("%s: results left %v, conditions %v", verdict, left, ours)
		}
		withoutSeal(t, after)
	}
}

// Until there is a key verdicts are given, and nothing is refused.
func TestWithoutAKey(t *testing.T) {
	for _, mode := range []settings.Enforcement{settings.Audit, settings.Enforce} {
		handler := newStatusHandler(&fakeVerifier{result: verified()})
		handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, mode: mode}
		handler.SealKey = func() seal.Key { return seal.Key{} }
		request := statusWrite(t, run("Unknown", nil), run("True", nil))
		after := stored(t, handler.Admit(t.Context(), request), request.Object)
		if ours := ourConditions(after); len(ours) != 1 || ours[0]["status"] != "True" || sealOf(after) != nil {
			t.Errorf("%s: %v", mode, after["status"])
		}
	}
}

// A TaskRun that somebody else manages carries nothing of ours, whoever writes it.
func TestManagedByOther(t *testing.T) {
	foreign := func(object fields) fields { return withSpec(object, fields{"managedBy": "example.com/other"}) }
	for _, mode := range []settings.Enforcement{settings.Audit, settings.Enforce} {
		for name, submitted := range map[string]fields{
			"running": withRecord(sealed(run("Unknown", withOurs("True"))), "v1.x.y"),
			"done":    withRecord(sealed(carriedRun(nil)), "v1.x.y"),
			"twice":   withRecord(withSeal(run("True", func(s fields) { withOurs("True")(s); withOurs("True")(s) }), "x"), "y"),
		} {
			verifier := &fakeVerifier{result: verified()}
			handler := newStatusHandler(verifier)
			handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, mode: mode}
			for _, old := range []fields{run("Unknown", nil), submitted} {
				response, request := admitAs(t, handler, "other", foreign(old), foreign(submitted))
				after := stored(t, response, request.Object)
				annotations, _ := after["status"].(fields)["annotations"].(fields)
				if len(ourConditions(after)) != 0 || len(annotations) != 0 || verifier.calls != 0 {
					t.Errorf("%s, %s: judged %d times, %v", mode, name, verifier.calls, after["status"])
				}
			}
		}
	}
}

// Succeeded is the first condition after every write, whatever the order in which Tekton or the old object has them.
func TestSucceededIsFirst(t *testing.T) {
	done, running := []any{oursIs("True"), succeededIs("True")}, []any{oursIs("Unknown"), succeededIs("Unknown")}
	with := func(conditions []any) func(fields) { return func(s fields) { s["conditions"] = conditions } }
	other := fields{"type": "Other", "status": "True"}
	cancelled := fields{"type": "Succeeded", "status": "False", "reason": "TaskRunCancelled"}
	for name, test := range map[string]struct{ old, submitted fields }{
		"running":            {run("Unknown", nil), run("Unknown", with(running))},
		"running, as before": {run("Unknown", with(running)), run("Unknown", with(running))},
		"completed":          {run("Unknown", with(running)), run("True", with(done))},
		"another before it":  {run("Unknown", nil), run("True", with([]any{other, succeededIs("True")}))},
		"carried":            {sealed(run("True", with(done))), run("True", with(done))},
		"healed":             {sealed(run("True", with(done))), sealed(run("True", with(done)))},
		"no results":         {run("Unknown", nil), run("True", with([]any{other, succeededIs("True")}))},
		"cancelled":          {run("Unknown", with(running)), run("False", with([]any{oursIs("Unknown"), cancelled}))},
		"cancelled, carried": {sealed(run("False", with([]any{cancelled, oursIs("True")}))),
			run("False", with([]any{oursIs("True"), cancelled}))},
	} {
		t.Run(name, func(t *testing.T) {
			result := verified()
			if name == "no results" {
				result = verify.Result{Verdict: verify.NoResults}
			}
			request := statusWrite(t, test.old, test.submitted)
			after := stored(t, newStatusHandler(&fakeVerifier{result: result}).Admit(t.Context(), request), request.Object)
			if first := after["status"].(fields)["conditions"].([]any)[0].(fields)["type"]; first != "Succeeded" {
				t.Errorf("the first condition is %v", first)
			}
		})
	}
}

// A TaskRun whose every attempt was refused before it had a pod has no verdict, and neither have the attempts.
func TestNothingRanInAnyAttempt(t *testing.T) {
	refused := func(attempts ...any) func(fields) {
		return func(s fields) {
			for _, name := range []string{"podName", "steps", "results"} {
				delete(s, name)
			}
			if len(attempts) > 0 {
				s["retriesStatus"] = attempts
			}
		}
	}
	attempt := run("False", refused())["status"]
	verifier := &fakeVerifier{result: failing(verify.Unsigned)}
	for _, request := range []struct{ old, submitted fields }{
		{run("Unknown", refused()), run("Unknown", refused(attempt))},
		{run("Unknown", refused(attempt)), run("False", refused(attempt))},
	} {
		write := statusWrite(t, request.old, request.submitted)
		after := stored(t, newStatusHandler(verifier).Admit(t.Context(), write), write.Object)
		if ours := ourConditions(after); verifier.calls != 0 || len(ours) == 1 && ours[0]["status"] != "Unknown" {
			t.Errorf("judged %d times, conditions %v", verifier.calls, ours)
		}
	}
}
