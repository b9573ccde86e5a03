// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/types"
)

const review = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1",` +
	`"operation":"UPDATE",` +
	`"kind":{"group":"tekton.dev","version":"v1","kind":"TaskRun"},` +
	`"namespace":"ci","name":"build","subResource":"status",` +
	`"resource":{"group":"tekton.dev","version":"v1","resource":"taskruns"},"object":` + reviewedRun + `,"oldObject":` +
	reviewedRun + `}}`

func statusRule() Rule {
	return NewRule("tekton.dev", "v1", admissionv1.Update, map[string]string{"taskruns": "TaskRun"}, "status")
}

// takeAll is a TakeBody without limits.
func takeAll(_ http.ResponseWriter, r *http.Request) (body []byte, done func(), status int, err error) {
	body, err = io.ReadAll(r.Body)
	return body, func() {}, http.StatusBadRequest, err
}

// TestWebhook sends a webhook what an API server may send it, and what it may not.
func TestWebhook(t *testing.T) {
	for name, tt := range map[string]struct {
		method, contentType, body string
		admit                     Admit
		status                    int
		outcome                   Outcome
	}{
		"allowed": {body: review, admit: answering(allow()), status: 200, outcome: OutcomeAllowed},
		"warned":  {body: review, admit: answering(allowWithWarning("oh")), status: 200, outcome: OutcomeWarned},
		"refused": {body: review, admit: answering(&admissionv1.AdmissionResponse{}), status: 200, outcome: OutcomeRefused},
		"patched": {body: review, admit: answering(&admissionv1.AdmissionResponse{Allowed: true, Patch: []byte("[]")}),
			status: 200, outcome: OutcomePatched},
		"panic": {body: review, admit: func(context.Context,
			*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
			panic("no")
		}, status: 500, outcome: OutcomePanic},
		"unanswered": {
			body: review, admit: func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
				unanswered()
				return nil
			}, status: 503, outcome: OutcomeUnanswered,
		},
		"no answer": {body: review, admit: answering(nil), status: 500, outcome: OutcomePanic},
		"GET":       {method: http.MethodGet, status: 405, outcome: OutcomeBadRequest},
		"no JSON":   {contentType: "text/plain", body: review, status: 415, outcome: OutcomeBadRequest},
		"with a charset": {contentType: "application/json; charset=utf-8", body: review, admit: answering(allow()),
			status: 200, outcome: OutcomeAllowed},
		"broken": {body: review[:40], status: 400, outcome: OutcomeBadRequest},
		"no request": {body: `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, status: 400,
			outcome: OutcomeBadRequest},
		"another version": {body: strings.Replace(review, "/v1", "/v1beta1", 1), status: 400, outcome: OutcomeBadRequest},
		"not taken":       {body: "unread", status: 413, outcome: OutcomeBadRequest},
		"of another object": {body: strings.Replace(review, `"name":"build","sub`, `"name":"other","sub`, 1), status: 400,
			outcome: OutcomeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			var told []Outcome
			taken, done := 0, 0
			handler := &Webhook{
				Admit: tt.admit, Rule: statusRule(), Limiter: NewLimiter(1), Log: zap.NewNop().Sugar(),
				Take: func(w http.ResponseWriter, r *http.Request) ([]byte, func(), int, error) {
					body, _, status, err := takeAll(w, r)
					if string(body) == "unread" {
						return nil, nil, http.StatusRequestEntityTooLarge, errors.New("too large")
					}
					taken++
					var once sync.Once
					return body, func() { once.Do(func() { done++ }) }, status, err
				},
				Done: func(o Outcome, _, _ time.Duration) { told = append(told, o) },
			}
			method, contentType := tt.method, tt.contentType
			if method == "" {
				method = http.MethodPost
			}
			if contentType == "" {
				contentType = "application/json"
			}
			request := httptest.NewRequestWithContext(t.Context(), method, "/", strings.NewReader(tt.body))
			request.Header.Set("Content-Type", contentType)
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			if recorder.Code != tt.status {
				t.Errorf("status: expected %d, got %d: %s", tt.status, recorder.Code, recorder.Body)
			}
			if diff := cmp.Diff([]Outcome{tt.outcome}, told); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if handler.Limiter.free != 1 || done != taken {
				t.Errorf("the gate was not left, or the body not given back: %d of %d", done, taken)
			}
			if tt.status == http.StatusOK {
				checkAnswer(t, recorder.Body.Bytes(), tt.admit(t.Context(), nil))
			}
		})
	}
}

// answering returns an Admit that always gives a copy of the response.
func answering(r *admissionv1.AdmissionResponse) Admit {
	return func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		return r.DeepCopy()
	}
}

func checkAnswer(t *testing.T, body []byte, want *admissionv1.AdmissionResponse) {
	t.Helper()
	var got admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want.UID = types.UID("u1")
	if diff := cmp.Diff(want, got.Response); diff != "" || got.Kind != "AdmissionReview" ||
		got.APIVersion != "admission.k8s.io/v1" {
		t.Errorf("%s %s, response (-want +got):\n%s", got.APIVersion, got.Kind, diff)
	}
}
