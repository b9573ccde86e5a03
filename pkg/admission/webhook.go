// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxReview bounds a review, in bytes. It holds an object twice, and an API server takes none above 3 MiB.
const maxReview = 8 << 20

// Admit answers one admission request.
type Admit func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse

// Outcome is what became of a request to a webhook, for the metrics.
type Outcome string

// The outcomes.
const (
	OutcomeAllowed    Outcome = "allowed"     // unchanged
	OutcomePatched    Outcome = "patched"     // with changes
	OutcomeWarned     Outcome = "warned"      // allowed although something was amiss, as the warning says
	OutcomeRefused    Outcome = "refused"     // the write is not made
	OutcomeUnanswered Outcome = "unanswered"  // left to the failure policy, while the add-on starts
	OutcomeBadRequest Outcome = "bad-request" // no AdmissionReview
	OutcomePanic      Outcome = "panic"       // a mistake in the add-on
)

// Webhook serves the AdmissionReviews (admission.k8s.io/v1) of one webhook over HTTP.
type Webhook struct {
	Admit Admit
	// Done is told about every request: how long it took from its last byte to the answer's first.
	Done func(Outcome, time.Duration)
	Log  *zap.SugaredLogger
}

// ServeHTTP implements http.Handler.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	review, status, err := readReview(w, r)
	start := time.Now()
	if err != nil {
		h.Done(OutcomeBadRequest, time.Since(start))
		http.Error(w, err.Error(), status)
		return
	}
	response, outcome := h.answer(r.Context(), review.Request)
	took := time.Since(start)
	h.Done(outcome, took)
	switch outcome {
	case OutcomeUnanswered:
		http.Error(w, "the add-on is starting", http.StatusServiceUnavailable)
		return
	case OutcomePanic:
		http.Error(w, "internal error, see the log", http.StatusInternalServerError)
		return
	}
	response.UID = review.Request.UID
	answer, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: response})
	if err != nil {
		http.Error(w, "encoding the answer failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // a caller who is gone needs no answer
}

// answer calls Admit. Where it panicked there is no response, and the failure policy of the webhook decides; with
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
	case len(r.Patch) > 0:
		return OutcomePatched
	case len(r.Warnings) > 0:
		return OutcomeWarned
	}
	return OutcomeAllowed
}

// readReview reads the request's body. status is that of the answer to what cannot be read.
func readReview(w http.ResponseWriter, r *http.Request) (review admissionv1.AdmissionReview, status int, err error) {
	if r.Method != http.MethodPost {
		return review, http.StatusMethodNotAllowed, fmt.Errorf("method: expected POST, got %s", r.Method)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return review, http.StatusUnsupportedMediaType, errors.New("content type: expected application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return review, http.StatusRequestEntityTooLarge, fmt.Errorf("body: expected at most %d bytes", maxReview)
		}
		return review, http.StatusBadRequest, errors.New("body: cannot be read")
	}
	if err := json.Unmarshal(body, &review); err != nil {
		return review, http.StatusBadRequest, errors.New("body: expected an AdmissionReview, got something else")
	}
	want := metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}
	if review.TypeMeta != want || review.Request == nil {
		return review, http.StatusBadRequest, errors.New("body: expected an AdmissionReview of admission.k8s.io/v1 with a request")
	}
	return review, http.StatusOK, nil
}
