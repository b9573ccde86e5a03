// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

func basedOn(basis record.Basis) verify.Result { r := verified(); r.Basis = basis; return r }

func TestConditionOfEachVerdict(t *testing.T) {
	failing := func(verdict verify.Verdict, status verify.Status) verify.Result {
		return verify.Result{Verdict: verdict, Reason: "results", Checks: []verify.Check{
			{ID: verify.CheckFormat, Status: verify.Pass, Message: "not this one"},
			{ID: verify.CheckResults, Status: status, Result: "digest", Expected: "aa", Got: "bb"},
		}}
	}
	tests := map[string]struct {
		result                  verify.Result
		status, reason, message string // no status: no condition
	}{
		"verified": {
			verified(), "True", "TaskRunResultsVerified",
			"VERIFIED: 1 result as signed in the pod, oidc-sa-token, identity",
		},
		"by a receipt": {
			basedOn(record.BasisReceipt), "True", "TaskRunResultsVerified",
			"VERIFIED: 1 result as the kubelet reported, nothing in the pod signed, identity",
		},
		"by a receipt and evidence": {
			basedOn(record.BasisBoth), "True", "TaskRunResultsVerified",
			"VERIFIED: 1 result as the kubelet reported, not every step signed, identity",
		},
		"failed": {
			failing(verify.Failed, verify.Fail), "False", "TaskRunResultsVerificationFailed",
			"FAILED: results, result digest, expected aa, got bb",
		},
		"indeterminate": {
			failing(verify.Indeterminate, verify.Unknown), "False", "TaskRunResultsVerificationFailed",
			"INDETERMINATE: results, result digest, expected aa, got bb",
		},
		"unsigned": {
			failing(verify.Unsigned, verify.Missing), "False", "TaskRunResultsVerificationFailed",
			"UNSIGNED: results, result digest, expected aa, got bb",
		},
		"of values only the digest": {
			failingWith(verify.CheckResults, `string "sha256:1"`, "nothing"), "False", "TaskRunResultsVerificationFailed",
			"FAILED: results, result digest, expected " +
				"sha256:e2d7c6246f21b584eaa81030bdc541506c3f74eb544e477ae99644239539725f, got nothing",
		},
		"of a name no digest": {
			failingWith(verify.CheckStepResults, verify.OneOfThisName, "several"), "False", "TaskRunResultsVerificationFailed",
			"FAILED: step-results, result digest, expected one of this name, got several",
		},
		"of other checks the value": {
			failingWith(verify.CheckPod, "a pod", "none at all"), "False", "TaskRunResultsVerificationFailed",
			"FAILED: pod, result digest, expected a pod, got none at all",
		},
		"no deciding check": {
			verify.Result{Verdict: verify.Failed, Reason: "input", Message: "odd"}, "False",
			"TaskRunResultsVerificationFailed", "FAILED: input: odd",
		},
		"no verdict":  {verify.Result{}, "False", "TaskRunResultsVerificationFailed", "FAILED: no such verdict"},
		"nothing due": {verify.Result{Verdict: verify.NoResults}, "", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			request := statusWrite(t, run("Unknown", nil), run("True", nil))
			after := stored(t, newStatusHandler(&fakeVerifier{result: tt.result}).Admit(t.Context(), request), request.Object)
			var want []fields
			if tt.status != "" {
				want = []fields{{
					"type": "SignedResultsVerified", "status": tt.status, "reason": tt.reason, "message": tt.message,
					"lastTransitionTime": "2026-03-01T12:00:00Z",
				}}
			}
			if diff := cmp.Diff(want, ourConditions(after)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func failingWith(id verify.CheckID, expected, got string) verify.Result {
	return verify.Result{Verdict: verify.Failed, Reason: string(id), Checks: []verify.Check{
		{ID: id, Status: verify.Fail, Result: "digest", Expected: expected, Got: got},
	}}
}

func TestMessageIsSafeAndBounded(t *testing.T) {
	result := verify.Result{Verdict: verify.Failed, Reason: "results", Checks: []verify.Check{{
		ID: verify.CheckResults, Status: verify.Fail, Step: "step-\x1b[2Kmake", Result: "digest",
		Expected: "\u202eevil", Got: strings.Repeat("日", 5000), Message: strings.Repeat("é\n", 600),
	}}}
	message := conditionFor(result, testNow()).Message
	if len(message) > 512 || !utf8.ValidString(message) || !strings.HasSuffix(message, "...") {
		t.Errorf("%d bytes: %q", len(message), message)
	}
	if strings.ContainsAny(message, "\x1b\n\u202e") {
		t.Errorf("unsafe: %q", message)
	}
	for _, part := range []string{"FAILED: results", ", step ", ", result digest", ", expected ", ", got "} {
		if !strings.Contains(message, part) {
			t.Errorf("%q lacks %q", message, part)
		}
	}
}

// carriedRun is a completed TaskRun with a verdict of ours; every case writes another state over it.
func carriedRun(change func(fields)) fields {
	return run("True", func(s fields) {
		withOurs("True")(s)
		if change != nil {
			change(s)
		}
	})
}

func TestVerdictIsCarriedOver(t *testing.T) {
	tests := map[string]func(status fields){
		"nothing changed":       nil,
		"another field":         func(s fields) { s["provenance"] = fields{"any": "thing"} },
		"null instead of none":  func(s fields) { s["artifacts"] = nil },
		"our condition dropped": func(s fields) { s["conditions"] = []any{succeededIs("True")} },
		"our condition changed": func(s fields) { s["conditions"] = []any{oursIs("False"), succeededIs("True")} },
		"our condition doubled": withOurs("False"),
		"other conditions changed": func(s fields) {
			s["conditions"] = append(s["conditions"].([]any), fields{"type": "Other", "status": "True"})
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: verified()}
			request := statusWrite(t, sealed(carriedRun(nil)), carriedRun(change))
			after := stored(t, newStatusHandler(verifier).Admit(t.Context(), request), request.Object)
			if diff := cmp.Diff([]fields{oursIs("True")}, ourConditions(after)); diff != "" {
				t.Error(diff)
			}
			if verifier.calls != 0 {
				t.Errorf("verified %d times", verifier.calls)
			}
		})
	}
}

func TestVerdictIsFoundAnew(t *testing.T) {
	tests := map[string]func(status fields){
		"results":             func(s fields) { s["results"] = []any{} },
		"steps":               func(s fields) { s["steps"] = []any{fields{"name": "make", "container": "step-other"}} },
		"artifacts":           func(s fields) { s["artifacts"] = fields{"outputs": []any{fields{"name": "image"}}} },
		"taskSpec":            func(s fields) { s["taskSpec"] = fields{"results": []any{fields{"name": "digest"}}} },
		"podName":             func(s fields) { s["podName"] = "another-pod" },
		"startTime":           func(s fields) { s["startTime"] = "2026-03-01T11:00:01Z" },
		"completionTime":      func(s fields) { s["completionTime"] = "2026-03-01T11:30:00Z" },
		"retriesStatus":       func(s fields) { s["retriesStatus"] = []any{fields{"podName": "build-pod"}} },
		"Succeeded":           func(s fields) { s["conditions"] = []any{succeededIs("False"), oursIs("True")} },
		"reason of Succeeded": func(s fields) { s["conditions"].([]any)[0].(fields)["reason"] = "TaskRunTimeout" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: verify.Result{Verdict: verify.Failed, Reason: "results"}}
			request := statusWrite(t, sealed(carriedRun(nil)), carriedRun(change))
			after := stored(t, newStatusHandler(verifier).Admit(t.Context(), request), request.Object)
			ours := ourConditions(after)
			calls := 1
			if name == "retriesStatus" { // the attempt is judged too
				calls = 2
			}
			if len(ours) != 1 || ours[0]["status"] != "False" || verifier.calls != calls {
				t.Errorf("verified %d times, conditions %v", verifier.calls, ours)
			}
		})
	}
}

// What somebody wrote into the condition before the add-on judged counts for nothing, in whatever form.
func TestConditionByHandIsNotTrusted(t *testing.T) {
	odd := oursIs("True")
	odd["reason"] = 5 // who waits for a condition looks at type and status only
	tests := map[string]struct{ old, submitted []any }{
		"with the completion": {[]any{succeededIs("Unknown")}, []any{oursIs("True"), succeededIs("True")}},
		"while it ran": {[]any{succeededIs("Unknown"), oursIs("True")},
			[]any{succeededIs("True"), oursIs("True")}},
		"twice": {[]any{succeededIs("Unknown")}, []any{oursIs("True"), succeededIs("True"),
			oursIs("True")}},
		"after a missed judgment": {[]any{succeededIs("True")}, []any{succeededIs("True"), oursIs("True")}},
		"unreadable for some":     {[]any{succeededIs("Unknown")}, []any{odd, succeededIs("True")}},
		"awaiting": {[]any{succeededIs("True"), oursIs("Unknown")},
			[]any{succeededIs("True"), oursIs("True")}},
		"two in the old object": {
			[]any{succeededIs("True"), oursIs("True"), oursIs("True")}, []any{succeededIs("True"), oursIs("True")},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: verify.Result{Verdict: verify.Failed, Reason: "results"}}
			request := statusWrite(t,
				run("Unknown", func(s fields) { s["conditions"] = tt.old }),
				run("True", func(s fields) { s["conditions"] = tt.submitted }))
			after := stored(t, newStatusHandler(verifier).Admit(t.Context(), request), request.Object)
			ours := ourConditions(after)
			if len(ours) != 1 || ours[0]["status"] != "False" || verifier.calls != 1 {
				t.Fatalf("verified %d times, conditions %v", verifier.calls, ours)
			}
			if verifier.taskRun.Status.GetCondition(verify.ConditionType) != nil {
				t.Error("the verifier was shown the condition")
			}
		})
	}
}

func TestHandWrittenConditionGoesWhenNothingIsDue(t *testing.T) {
	request := statusWrite(t, run("Unknown", nil), run("True", withOurs("True")))
	handler := newStatusHandler(&fakeVerifier{result: verify.Result{Verdict: verify.NoResults}})
	after := stored(t, handler.Admit(t.Context(), request), request.Object)
	if ours := ourConditions(after); len(ours) != 0 {
		t.Error(ours)
	}
}

func TestRetryAwaitsResults(t *testing.T) {
	tests := map[string]fields{
		"running again":   run("Unknown", withOurs("True")),
		"no condition":    run("Unknown", func(s fields) { delete(s, "conditions") }),
		"null conditions": run("Unknown", func(s fields) { s["conditions"] = nil }),
		"no status":       {"apiVersion": "tekton.dev/v1", "kind": "TaskRun"},
		"null status":     {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "status": nil},
	}
	for name, submitted := range tests {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{result: verified()}
			request := statusWrite(t, sealed(carriedRun(nil)), submitted)
			after := stored(t, newStatusHandler(verifier).Admit(t.Context(), request), request.Object)
			ours := ourConditions(after)
			if len(ours) != 1 || ours[0]["status"] != "Unknown" || ours[0]["reason"] != "AwaitingTaskRunResults" {
				t.Errorf("conditions %v", ours)
			}
			if verifier.calls != 0 {
				t.Error("verified although the TaskRun is not completed")
			}
		})
	}
}
