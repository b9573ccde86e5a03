// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func failing(verdict verify.Verdict) verify.Result {
	status := map[verify.Verdict]verify.Status{
		verify.Failed: verify.Fail, verify.Indeterminate: verify.Unknown, verify.Unsigned: verify.Missing,
	}[verdict]
	return verify.Result{Verdict: verdict, Reason: "results", Checks: []verify.Check{{
		ID: verify.CheckResults, Status: status, Result: "digest", Expected: `string "sha256:1"`, Got: "nothing",
	}}}
}

// enforcing is a handler in a namespace whose mode is enforce.
func enforcing(v *fakeVerifier) *StatusHandler {
	handler := newStatusHandler(v)
	handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, mode: settings.Enforce}
	return handler
}

// full fills everything that Tekton hands on to other tasks.
func full(s fields) {
	s["artifacts"] = fields{"outputs": []any{fields{"name": "image"}}}
	s["completionTime"] = "2026-03-01T11:30:00Z"
	s["steps"] = []any{
		fields{
			"name": "make", "container": "step-make", "later": "field", "results": []any{fields{"name": "scan"}},
			"inputs": []any{fields{"name": "source"}}, "outputs": []any{fields{"name": "image"}},
			"terminated": fields{"exitCode": 0.0, "message": "[]"},
		},
		fields{"name": "push", "container": "step-push"},
	}
}

func emptiedSteps() []any {
	return []any{
		fields{
			"name": "make", "container": "step-make", "later": "field",
			"terminated": fields{"exitCode": 0.0, "message": "[]"},
		},
		fields{"name": "push", "container": "step-push"},
	}
}

const now = "2026-03-01T12:00:00Z"

func ours(status, reason, message string) fields {
	return fields{
		"type": "SignedResultsVerified", "status": status, "reason": reason, "message": message, "lastTransitionTime": now,
	}
}

func TestEnforceFailsTheRunAndTakesItsResults(t *testing.T) {
	for _, verdict := range []verify.Verdict{verify.Failed, verify.Unsigned, verify.Indeterminate, "no such verdict"} {
		t.Run(string(verdict), func(t *testing.T) {
			request := statusWrite(t, run("Unknown", nil), run("True", full))
			after := stored(t, enforcing(&fakeVerifier{result: failing(verdict)}).Admit(t.Context(), request), request.Object)
			status := after["status"].(fields)
			for _, gone := range []string{"results", "artifacts"} {
				if _, ok := status[gone]; ok {
					t.Errorf("status.%s is still there", gone)
				}
			}
			if diff := cmp.Diff(emptiedSteps(), status["steps"]); diff != "" {
				t.Error(diff)
			}
			conditions := status["conditions"].([]any)
			succeeded, verdictOf := conditions[0].(fields), conditions[1].(fields)
			if succeeded["status"] != "False" || succeeded["reason"] != "TaskRunResultsVerificationFailed" ||
				verdictOf["status"] != "False" || verdictOf["reason"] != "TaskRunResultsVerificationFailed" {
				t.Errorf("conditions %v", conditions)
			}
			message := succeeded["message"].(string)
			if message != verdictOf["message"] || strings.Contains(message, "sha256:1\"") ||
				(verdict != "no such verdict" &&
					!strings.HasPrefix(message, string(verdict)+": results, result digest, expected sha256:")) {
				t.Errorf("message %q", message)
			}
			if status["completionTime"] != "2026-03-01T11:30:00Z" || status["podName"] != "build-pod" {
				t.Errorf("status %v", status)
			}
		})
	}
}

// What had failed anyway keeps its reason, by which Tekton tells a cancelled run, but not its results.
func TestEnforceKeepsTheReasonOfAFailure(t *testing.T) {
	cancelled := fields{"type": "Succeeded", "status": "False", "reason": "TaskRunCancelled", "message": "stop"}
	request := statusWrite(t, run("Unknown", nil), run("False", func(s fields) {
		full(s)
		s["conditions"] = []any{cancelled}
	}))
	after := stored(t, enforcing(&fakeVerifier{result: failing(verify.Indeterminate)}).Admit(t.Context(), request),
		request.Object)
	status := after["status"].(fields)
	if diff := cmp.Diff(cancelled, status["conditions"].([]any)[0]); diff != "" {
		t.Error(diff)
	}
	if _, ok := status["results"]; ok || len(ourConditions(after)) != 1 {
		t.Errorf("status %v", status)
	}
}

// clockBehind is what a replica finds whose clock is.
func clockBehind() verify.Result {
	return verify.Result{Verdict: verify.Indeterminate, Reason: verify.ReasonClockBehind, Checks: []verify.Check{{
		ID: verify.CheckTime, Status: verify.Unknown, Expected: "before 11:00", Got: "11:30", Message: "set this clock",
	}}}
}

// A clock that is behind fails no TaskRun: what it cannot judge is written again, or judged late.
func TestClockBehind(t *testing.T) {
	completing := statusWrite(t, run("Unknown", nil), run("True", func(s fields) { full(s); withOurs("True")(s) }))
	refused := enforcing(&fakeVerifier{result: clockBehind()}).Admit(t.Context(), completing)
	if refused.Allowed || refused.Result.Code != 500 || !strings.Contains(refused.Result.Message,
		"expected before 11:00, got 11:30: set this clock") {
		t.Errorf("enforce: expected a refusal upon which Tekton writes again, got %+v", refused)
	}
	after := stored(t, newStatusHandler(&fakeVerifier{result: clockBehind()}).Admit(t.Context(), completing),
		completing.Object)
	if found := ourConditions(after); len(found) != 0 {
		t.Errorf("audit: expected no verdict, so that the TaskRun is judged late, got %v", found)
	}
	if after["status"].(fields)["results"] == nil {
		t.Error("audit: expected the results, got none")
	}
	// What was judged does not become unjudged by a later write.
	changed := statusWrite(t, sealed(carriedRun(nil)), carriedRun(func(s fields) { s["steps"] = []any{} }))
	after = stored(t, newStatusHandler(&fakeVerifier{result: clockBehind()}).Admit(t.Context(), changed), changed.Object)
	if found := ourConditions(after); len(found) != 1 || found[0]["status"] != "False" {
		t.Errorf("audit, changed after it was judged: expected one condition False, got %v", found)
	}
}

func TestEnforceLetsVerifiedResultsPass(t *testing.T) {
	verifier := &fakeVerifier{result: verified()}
	request := statusWrite(t, run("Unknown", nil), run("True", full))
	after := stored(t, enforcing(verifier).Admit(t.Context(), request), request.Object)
	want := run("True", full)
	want["status"].(fields)["conditions"] = []any{
		succeededIs("True"), ours("True", "TaskRunResultsVerified",
			"VERIFIED: 1 result as signed in the pod, oidc-sa-token, identity"),
	}
	if diff := cmp.Diff(want, withoutSeal(t, after)); diff != "" {
		t.Error(diff)
	}
	if verifier.rules.MinimumFormat != signing.FormatV2 {
		t.Errorf("the minimum format is %q", verifier.rules.MinimumFormat)
	}
}

func TestNoResultsAreUnsignedWhereEnforced(t *testing.T) {
	request := statusWrite(t, run("Unknown", nil), run("True", nil))
	after := stored(t, enforcing(&fakeVerifier{result: verify.Result{Verdict: verify.NoResults}}).Admit(t.Context(),
		request), request.Object)
	conditions := ourConditions(after)
	if len(conditions) != 1 || !strings.HasPrefix(conditions[0]["message"].(string), "UNSIGNED: coverage: no step") {
		t.Errorf("conditions %v", conditions)
	}
}

func TestMaterialIsKeptOnRequest(t *testing.T) {
	with := func(s fields) { s["results"] = []any{fields{"name": "SIGNING_TOKEN", "type": "string", "value": "y"}} }
	request := statusWrite(t, run("Unknown", nil), run("True", with))
	handler := newStatusHandler(&fakeVerifier{result: verified()})
	handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, material: true}
	after := stored(t, handler.Admit(t.Context(), request), request.Object)
	if got := after["status"].(fields)["results"]; len(got.([]any)) != 1 || len(ourConditions(after)) != 1 {
		t.Errorf("results %v", got)
	}
}

// TestMaterialIsRemoved takes what a signer added out of the results, in each format.
func TestMaterialIsRemoved(t *testing.T) {
	for format, want := range map[signing.Format][]string{
		signing.FormatV2: {"digest", "digest.sig"}, signing.FormatV1: {"digest"},
	} {
		with := func(s fields) {
			var results []any
			for _, name := range []string{"digest", "digest.sig", "RESULT_MANIFEST", "RESULT_MANIFEST.sig", "SVID"} {
				results = append(results, fields{"name": name, "type": "string", "value": "y"})
			}
			s["results"] = results
		}
		result := verified()
		result.Format = format
		request := statusWrite(t, run("Unknown", nil), run("True", with))
		after := stored(t, newStatusHandler(&fakeVerifier{result: result}).Admit(t.Context(), request), request.Object)
		var got []string
		for _, r := range after["status"].(fields)["results"].([]any) {
			got = append(got, r.(fields)["name"].(string))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("format %s (-want +got):\n%s", format, diff)
		}
	}
}

func withSpec(object, spec fields) fields {
	object = maps.Clone(object)
	object["spec"] = spec
	return object
}

func TestLateVerdictsSaySo(t *testing.T) {
	for _, result := range []verify.Result{verified(), failing(verify.Unsigned)} {
		response, request := admitAs(t, newStatusHandler(&fakeVerifier{result: result}), addOn, run("True", nil),
			run("True", nil))
		conditions := ourConditions(stored(t, response, request.Object))
		if len(conditions) != 1 || !strings.Contains(conditions[0]["message"].(string),
			"; verified late, the add-on did not see") {
			t.Errorf("conditions %v", conditions)
		}
	}
}

// A TaskRun that enforcement failed stays so, even if what is left of it verifies.
func TestEnforcedFailureIsNeverVerified(t *testing.T) {
	failedByUs := func(s fields) {
		s["conditions"] = []any{fields{"type": "Succeeded", "status": "False", "reason": "TaskRunResultsVerificationFailed"}}
	}
	response, request := admitAs(t, enforcing(&fakeVerifier{result: verified()}), addOn, run("False", failedByUs),
		run("False", failedByUs))
	conditions := ourConditions(stored(t, response, request.Object))
	if len(conditions) != 1 || conditions[0]["status"] != "False" {
		t.Errorf("conditions %v", conditions)
	}
}

func TestTaskSpecIsPinned(t *testing.T) {
	declares := func(name string) func(fields) {
		return func(s fields) { s["taskSpec"] = fields{"results": []any{fields{"name": name}}} }
	}
	for name, tt := range map[string]struct {
		old, submitted fields
		changed        bool
	}{
		"changed while it runs":       {run("Unknown", declares("a")), run("Unknown", declares("b")), true},
		"changed with completion":     {run("Unknown", declares("a")), run("True", declares("b")), true},
		"dropped":                     {run("Unknown", declares("a")), run("True", nil), true},
		"set for the first time":      {run("Unknown", nil), run("True", declares("b")), false},
		"as it was, in other bytes":   {run("Unknown", declares("b")), run("True", declares("b")), false},
		"changed after the verdict":   {carriedRun(declares("a")), carriedRun(declares("b")), true},
		"changed, nothing was judged": {run("True", declares("a")), run("True", declares("b")), true},
	} {
		t.Run(name, func(t *testing.T) {
			response, request := admitAs(t, newStatusHandler(&fakeVerifier{result: verified()}), tekton, tt.old, tt.submitted)
			after := stored(t, response, request.Object)
			want := tt.old
			if !tt.changed {
				want = tt.submitted
			}
			if diff := cmp.Diff(want["status"].(fields)["taskSpec"], after["status"].(fields)["taskSpec"]); diff != "" {
				t.Error(diff)
			}
			if warned := slices.ContainsFunc(response.Warnings,
				func(w string) bool { return strings.Contains(w, "status.taskSpec is fixed") }); warned != tt.changed {
				t.Errorf("warnings %q", response.Warnings)
			}
		})
	}
}

func TestRecord(t *testing.T) {
	with := func(record any) func(fields) {
		return func(s fields) {
			s["annotations"] = fields{"other": "x"}
			if record != nil {
				s["annotations"].(fields)["tekton-sign.dev/record"] = record
			}
		}
	}
	both := func(a, b func(fields)) func(fields) { return func(s fields) { a(s); b(s) } }
	otherSteps := func(s fields) { s["steps"] = []any{} }
	good := func(record any) fields { return sealed(carriedRun(with(record))) }
	tests := map[string]struct {
		old, submitted fields
		who            string
		want           any
	}{
		"the add-on writes it":          {good(nil), good("v1.a"), addOn, "v1.a"},
		"the add-on writes another":     {good("v1.a"), good("v1.b"), addOn, "v1.b"},
		"without a seal that names it":  {good(nil), carriedRun(with("v1.a")), addOn, nil},
		"a stranger writes it":          {good(nil), carriedRun(with("v1.evil")), "mallory", nil},
		"a stranger changes it":         {good("v1.a"), carriedRun(with("v1.evil")), "mallory", "v1.a"},
		"a stranger takes it back":      {good("v1.a"), good(nil), "mallory", "v1.a"},
		"Tekton drops it":               {good("v1.a"), carriedRun(with(nil)), tekton, "v1.a"},
		"Tekton drops all annotations":  {good("v1.a"), carriedRun(nil), tekton, "v1.a"},
		"it was not the add-on's":       {withRecord(good(nil), "v1.evil"), carriedRun(with("v1.evil")), tekton, nil},
		"judged again":                  {good("v1.a"), carriedRun(both(with("v1.a"), otherSteps)), tekton, nil},
		"with the completion":           {run("Unknown", nil), run("True", with("v1.evil")), tekton, nil},
		"while it runs":                 {run("Unknown", nil), run("Unknown", with("v1.evil")), "mallory", nil},
		"the add-on with other results": {good(nil), carriedRun(both(with("v1.a"), otherSteps)), addOn, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			response, request := admitAs(t, newStatusHandler(&fakeVerifier{result: verified()}), tt.who, tt.old, tt.submitted)
			annotations, _ := stored(t, response, request.Object)["status"].(fields)["annotations"].(fields)
			if got := annotations["tekton-sign.dev/record"]; got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if _, ok := annotations["other"]; !ok && tt.submitted["status"].(fields)["annotations"] != nil {
				t.Errorf("other annotations are gone: %v", annotations)
			}
		})
	}
}

// withRecord puts a record beside a seal that does not name it.
func withRecord(object fields, record string) fields {
	object["status"].(fields)["annotations"].(fields)["tekton-sign.dev/record"] = record
	return object
}

// withoutSeal takes the seal off again, and fails where there is none or it does not fit.
func withoutSeal(t *testing.T, object fields) fields {
	t.Helper()
	of, err := seal.SubjectOf(&unstructured.Unstructured{Object: object})
	if err != nil {
		t.Fatal(err)
	}
	status := object["status"].(fields)
	annotations := status["annotations"].(fields)
	if _, err := seal.Open(testKey(), of, annotations[seal.Annotation].(string)); err != nil {
		t.Error(err)
	}
	delete(annotations, seal.Annotation)
	if len(annotations) == 0 {
		delete(status, "annotations")
	}
	return object
}
