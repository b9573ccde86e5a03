// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
)

// MaxReview bounds a review, in bytes. It contains an object twice, and an API server accepts at most 3 MiB.
const MaxReview = 8 << 20

// Admit answers one admission request.
type Admit func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse

// Outcome is the outcome of a request to a webhook, for the metrics.
type Outcome string

// The outcomes.
const (
	OutcomeAllowed Outcome = "allowed" // unchanged
	OutcomePatched Outcome = "patched" // with changes
	// allowed, with or without changes, with a warning about a problem
	OutcomeWarned     Outcome = "warned"
	OutcomeRefused    Outcome = "refused"     // the write is not made
	OutcomeUnanswered Outcome = "unanswered"  // left to the failure policy, while the add-on starts
	OutcomeBadRequest Outcome = "bad-request" // no AdmissionReview
	OutcomePanic      Outcome = "panic"       // a mistake in the add-on
)

// TakeBody reads the body of a request, within the server's memory for bodies. Call done when the answer is ready to
// be sent; it can be called more than once.
type TakeBody func(w http.ResponseWriter, r *http.Request) (body []byte, done func(), status int, err error)

// Webhook serves the AdmissionReviews (admission.k8s.io/v1) of one webhook over HTTP. Clients do not prove to be an
// API server, so a review is a question about one object, and never a reason to change anything.
type Webhook struct {
	Admit   Admit
	Rule    Rule     // what Admit is asked about, and nothing else
	Take    TakeBody // shared by all webhooks of the process, as is
	Limiter *Limiter
	// Done is called for every request: with its total time, and the part that this process worked on it. The rest is
	// waiting: for its turn, and for the API server.
	Done func(o Outcome, whole, worked time.Duration)
	Log  *zap.SugaredLogger
}

// ServeHTTP implements http.Handler.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, done, status, err := h.take(w, r)
	if err != nil {
		h.Done(OutcomeBadRequest, 0, 0)
		http.Error(w, err.Error(), status)
		return
	}
	defer done()
	came := time.Now()
	ctx, err := h.Limiter.Enter(r.Context())
	if err != nil { // the caller is gone
		h.Done(OutcomeUnanswered, time.Since(came), 0)
		return
	}
	began := time.Now()
	answer, outcome, err := h.work(ctx, body)
	h.Done(outcome, time.Since(came), time.Since(began)-outside(ctx))
	done() // a client that does not read the answer blocks no other
	if err != nil {
		http.Error(w, err.Error(), statusOf(outcome))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // a caller who is gone needs no answer
}

// take returns the body of a request that may hold a review.
func (h *Webhook) take(w http.ResponseWriter, r *http.Request) (body []byte, done func(), status int, err error) {
	if status, err := checkHead(r); err != nil {
		w.Header().Set("Connection", "close")
		return nil, nil, status, err
	}
	return h.Take(w, r)
}

// work returns the answer to a review, and ends its turn.
func (h *Webhook) work(ctx context.Context, body []byte) (answer []byte, outcome Outcome, err error) {
	defer h.Limiter.Leave()
	review, err := parseReview(body)
	if err != nil {
		return nil, OutcomeBadRequest, err
	}
	if err := h.Rule.check(review.Request); err != nil {
		return nil, OutcomeBadRequest, fmt.Errorf("not a review for this webhook: %w", err)
	}
	response, outcome := h.answer(withSubject(ctx, review.Request), review.Request)
	switch outcome {
	case OutcomeUnanswered:
		return nil, outcome, errors.New("the add-on is starting")
	case OutcomePanic:
		return nil, outcome, errors.New("internal error, see the log")
	}
	response.UID = review.Request.UID
	answer, err = json.Marshal(admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: response})
	return answer, outcome, err
}

// statusOf returns the status of HTTP for a request without an answer.
func statusOf(o Outcome) int {
	switch o {
	case OutcomeBadRequest:
		return http.StatusBadRequest
	case OutcomeUnanswered:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// answer calls Admit. If Admit panics there is no response, and the failure policy of the webhook decides. With
// http.ErrAbortHandler it does so on purpose.
func (h *Webhook) answer(ctx context.Context, request *admissionv1.AdmissionRequest) (
	response *admissionv1.AdmissionResponse, outcome Outcome,
) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			response, outcome = nil, OutcomeUnanswered
		default:
			h.Log.Errorw("a webhook failed", "panic", fmt.Sprint(p), zap.Stack("stack"))
			response, outcome = nil, OutcomePanic
		}
	}()
	response = h.Admit(ctx, request)
	return response, outcomeOf(response)
}

func outcomeOf(r *admissionv1.AdmissionResponse) Outcome {
	switch {
	case !r.Allowed:
		return OutcomeRefused
	case len(r.Warnings) > 0:
		return OutcomeWarned
	case len(r.Patch) > 0:
		return OutcomePatched
	}
	return OutcomeAllowed
}

// checkHead checks the headers of a review. status is that of the answer if they are refused.
func checkHead(r *http.Request) (status int, err error) {
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, fmt.Errorf("method: expected POST, got %s", display.Short(r.Method, maxWarning))
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType, errors.New("content type: expected application/json")
	}
	return http.StatusOK, nil
}
