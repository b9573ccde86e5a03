// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// The add-on retries as Tekton's controller does: see retryTaskRun in Tekton's pkg/reconciler/taskrun.
func TestEnforceRetries(t *testing.T) {
	spec := fields{"retries": 2, "taskRef": fields{"name": "build"}}
	first := fields{"podName": "build-pod-first"}
	submitted := run("True", func(s fields) {
		full(s)
		s["podName"] = "build-pod-retry1"
		s["retriesStatus"] = []any{first}
	})
	old := withSpec(run("Unknown", func(s fields) { s["retriesStatus"] = []any{first} }), spec)
	request := statusWrite(t, old, withSpec(submitted, spec))
	after := stored(t, enforcing(&fakeVerifier{result: failing(verify.Failed)}).Admit(t.Context(), request),
		request.Object)
	status := after["status"].(fields)

	message := status["conditions"].([]any)[0].(fields)["message"].(string)
	archived := submitted["status"].(fields)
	archived = maps.Clone(archived)
	for _, gone := range []string{"retriesStatus", "results", "artifacts"} {
		delete(archived, gone)
	}
	archived["steps"] = emptiedSteps()
	archived["conditions"] = []any{
		fields{
			"type": "Succeeded", "status": "False", "reason": "TaskRunResultsVerificationFailed", "message": message,
			"lastTransitionTime": now,
		},
		ours("False", "TaskRunResultsVerificationFailed", message),
	}
	want := fields{
		"podName": "", "future": archived["future"], "steps": emptiedSteps(), "retriesStatus": []any{first, archived},
		"conditions": []any{
			fields{"type": "Succeeded", "status": "Unknown", "reason": "ToBeRetried", "message": message,
				"lastTransitionTime": now},
			ours("Unknown", "AwaitingTaskRunResults", "the TaskRun is not completed"),
		},
	}
	if diff := cmp.Diff(want, status); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(message, "FAILED: results") {
		t.Errorf("message %q", message)
	}
}

func TestEnforceDoesNotRetry(t *testing.T) {
	attempt := fields{"podName": "build-pod"}
	tests := map[string]struct {
		old       string
		spec      fields
		submitted fields
	}{
		"no retries": {"Unknown", fields{}, run("True", nil)},
		"cancelled":  {"Unknown", fields{"retries": 3, "status": "TaskRunCancelled"}, run("True", nil)},
		"used up": {"Unknown", fields{"retries": 1},
			run("True", func(s fields) { s["retriesStatus"] = []any{attempt} })},
		"failed by Tekton": {"Unknown", fields{"retries": 1}, run("False", nil)},
		"published before": {"True", fields{"retries": 1}, run("True", nil)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			old := withSpec(run(tt.old, func(s fields) {
				s["retriesStatus"] = tt.submitted["status"].(fields)["retriesStatus"]
			}), tt.spec)
			request := statusWrite(t, old, withSpec(tt.submitted, tt.spec))
			after := stored(t, enforcing(&fakeVerifier{result: failing(verify.Failed)}).Admit(t.Context(), request),
				request.Object)
			if got := after["status"].(fields)["conditions"].([]any)[0].(fields)["status"]; got != "False" {
				t.Errorf("Succeeded is %v", got)
			}
		})
	}
}

// An attempt that Tekton itself gave up is judged in the write that archives it.
func TestArchivedAttemptsAreJudged(t *testing.T) {
	attempt := func(change func(fields)) fields { return run("False", change)["status"].(fields) }
	retried := func(archived ...any) fields {
		return run("Unknown", func(s fields) {
			s["retriesStatus"] = archived
			s["podName"] = ""
			s["conditions"] = append(s["conditions"].([]any), oursIs("True"))
		})
	}
	judgedBefore := attempt(withOurs("False"))
	for _, mode := range []settings.Enforcement{settings.Audit, settings.Enforce} {
		t.Run(string(mode), func(t *testing.T) {
			verifier := &fakeVerifier{result: failing(verify.Failed)}
			handler := newStatusHandler(verifier)
			handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, mode: mode}
			request := statusWrite(t, retried(judgedBefore), retried(judgedBefore, attempt(withOurs("True"))))
			after := stored(t, handler.Admit(t.Context(), request), request.Object)
			attempts := after["status"].(fields)["retriesStatus"].([]any)
			if diff := cmp.Diff(judgedBefore, attempts[0]); diff != "" {
				t.Errorf("the attempt that was judged before: %s", diff)
			}
			second := attempts[1].(fields)
			conditions := second["conditions"].([]any)
			if len(conditions) != 2 || conditions[1].(fields)["status"] != "False" {
				t.Errorf("conditions %v", conditions)
			}
			if _, ok := second["results"]; ok != (mode == settings.Audit) {
				t.Errorf("results are there: %v", ok)
			}
			if verifier.calls != 1 || len(verifier.taskRun.Status.RetriesStatus) != 1 ||
				verifier.taskRun.Status.PodName != "build-pod" {
				t.Errorf("verified %d times, last %+v", verifier.calls, verifier.taskRun)
			}
			if got := ourConditions(after); len(got) != 1 || got[0]["status"] != "Unknown" {
				t.Errorf("conditions %v", got)
			}
		})
	}
}

// Tekton's controller may write from a view of the TaskRun that is older than the add-on's retry.
func TestRetryIsNotTakenBack(t *testing.T) {
	one, two := fields{"podName": "a"}, fields{"podName": "b"}
	with := func(attempts ...any) func(fields) { return func(s fields) { s["retriesStatus"] = attempts } }
	for name, submitted := range map[string]fields{
		"completed, no attempt": run("True", nil), "running, no attempt": run("Unknown", nil),
		"one attempt less": run("True", with(one)), "another attempt": run("Unknown", with(one, one)),
	} {
		t.Run(name, func(t *testing.T) {
			response, _ := admitAs(t, enforcing(&fakeVerifier{result: verified()}), tekton, run("Unknown", with(one, two)),
				submitted)
			if response.Allowed || response.Result.Reason != "Conflict" || response.Result.Code != 409 {
				t.Errorf("got %+v", response)
			}
		})
	}
}
