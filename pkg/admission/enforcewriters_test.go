// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"errors"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Enforce never lets pass what it could not judge: Tekton writes again.
func TestTroubleRefusesAWriteThatIsEnforced(t *testing.T) {
	done := raw(t, run("True", nil)).Raw
	handlers := map[string]*StatusHandler{
		"panic":   enforcing(&fakeVerifier{panics: true}),
		"no keys": enforcing(&fakeVerifier{err: errors.New("the \x1b[2Kkeys are not known yet")}),
		"no pods": enforcing(&fakeVerifier{result: verified()}),
		"garbage": enforcing(&fakeVerifier{result: verified()}),
	}
	handlers["no pods"].Pods = fakePods{err: errors.New("connection refused")}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			request := statusWrite(t, run("Unknown", nil), run("True", nil))
			request.Object.Raw = done
			if name == "garbage" {
				request.Object.Raw = []byte(`{"status":{"retriesStatus":5}}`)
			}
			response := handler.Admit(t.Context(), request)
			if response.Allowed || response.Result.Code != 500 || strings.Contains(response.Result.Message, "\x1b") ||
				!strings.Contains(response.Result.Message, "Tekton tries again") {
				t.Errorf("got %+v", response.Result)
			}
		})
	}
}

func admitAs(t *testing.T, handler *StatusHandler, user string, old, submitted fields) (*admissionv1.AdmissionResponse,
	*admissionv1.AdmissionRequest) {
	t.Helper()
	request := statusWrite(t, old, submitted)
	request.UserInfo.Username = user
	return handler.Admit(t.Context(), request), request
}

func TestAfterCompletionOnlyTektonWrites(t *testing.T) {
	changed := func(s fields) { s["results"] = []any{fields{"name": "digest", "type": "string", "value": "evil"}} }
	retried := func(s fields) { s["retriesStatus"] = []any{fields{"podName": "x"}} }
	tests := map[string]struct {
		old, submitted fields
		who            string
		code           int32 // 0: allowed
	}{
		"a stranger changes results":    {carriedRun(nil), carriedRun(changed), "mallory", 403},
		"before the verdict":            {run("True", nil), run("True", changed), "mallory", 403},
		"the add-on changes results":    {carriedRun(nil), carriedRun(changed), addOn, 403},
		"a stranger makes it run again": {carriedRun(nil), run("Unknown", nil), "mallory", 403},
		"a stranger adds an attempt":    {run("Unknown", nil), run("Unknown", retried), "mallory", 403},
		"Tekton changes results":        {carriedRun(nil), carriedRun(changed), tekton, 0},
		"a stranger changes other things": {carriedRun(nil), carriedRun(func(s fields) { s["provenance"] = fields{} }),
			"mallory", 0},
		"a stranger completes it":       {run("Unknown", nil), run("True", changed), "mallory", 0}, // it is verified
		"the add-on asks for a verdict": {run("True", nil), run("True", nil), addOn, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			response, _ := admitAs(t, enforcing(&fakeVerifier{result: failing(verify.Failed)}), tt.who, tt.old, tt.submitted)
			switch {
			case tt.code == 0 && !response.Allowed:
				t.Errorf("refused: %s", response.Result.Message)
			case tt.code != 0 && (response.Allowed || response.Result.Code != tt.code ||
				!strings.Contains(response.Result.Message, tt.who)):
				t.Errorf("got %+v", response)
			}
			audit, _ := admitAs(t, newStatusHandler(&fakeVerifier{result: failing(verify.Failed)}), tt.who, tt.old, tt.submitted)
			if !audit.Allowed {
				t.Errorf("refused in audit: %s", audit.Result.Message)
			}
		})
	}
}

func TestStrangersInAudit(t *testing.T) {
	changed := func(s fields) { s["completionTime"] = "2026-03-01T11:59:00Z" }
	gone := func(s fields) {
		for _, field := range []string{"results", "steps"} {
			delete(s, field)
		}
	}
	tests := map[string]struct {
		who     string
		result  verify.Result
		change  func(fields)
		message string
	}{
		"still good": {"mal\x1blory", verified(), changed,
			`written after completion by mal\x1blory: FAILED: what was verified has changed since`},
		"not good": {"mallory", failing(verify.Failed), changed,
			"written after completion by mallory: FAILED: results, result digest, expected sha256:"},
		"nothing left": {"mallory", verify.Result{Verdict: verify.NoResults}, gone,
			"written after completion by mallory: FAILED: what was verified is gone"},
		"nothing left by Tekton": {tekton, verify.Result{Verdict: verify.NoResults}, gone,
			"FAILED: what was verified is gone"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			response, request := admitAs(t, newStatusHandler(&fakeVerifier{result: tt.result}), tt.who, sealed(carriedRun(nil)),
				carriedRun(tt.change))
			conditions := ourConditions(stored(t, response, request.Object))
			if len(conditions) != 1 || conditions[0]["status"] != "False" ||
				!strings.HasPrefix(conditions[0]["message"].(string), tt.message) {
				t.Errorf("conditions %v", conditions)
			}
		})
	}
	// What a stranger wrote back is judged as what it is.
	spoilt := run("True", withOurs("False"))
	response, request := admitAs(t, newStatusHandler(&fakeVerifier{result: verified()}), "admin", sealed(spoilt),
		carriedRun(changed))
	if conditions := ourConditions(stored(t, response, request.Object)); conditions[0]["status"] != "True" {
		t.Errorf("conditions %v", conditions)
	}
}
