// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Rules are what the settings ask of evidence.
type Rules struct {
	AudiencePrefix string
	Lifetime       time.Duration  // the longest of a token
	MinimumFormat  signing.Format // weaker evidence is refused
}

// Verifier judges one TaskRun.
type Verifier interface {
	TaskRun(ctx context.Context, rules Rules, tr *v1.TaskRun, facts verify.Facts) (verify.Result, error)
}

// PodGetter reads the metadata of one pod.
type PodGetter interface {
	Get(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error)
}

// Scope tells what is to be done where.
type Scope interface {
	// Ready reports whether the add-on has seen the settings and the namespaces.
	Ready() bool
	Settings() settings.Settings
	InScope(namespace string) bool
	Enforcement(namespace string) settings.Enforcement
}

// Accounts are the users who have a part of their own in the status of a TaskRun.
type Accounts struct {
	Tekton string // of Tekton's controller, which writes it
	AddOn  string // of the add-on, which writes the record
}

// podTimeout bounds the one request to the API server that every verdict needs.
const podTimeout = 3 * time.Second

// StatusHandler verifies TaskRuns in the writes to their status.
type StatusHandler struct {
	Scope    Scope
	Accounts Accounts
	Verifier Verifier
	Pods     PodGetter
	// OnVerdict is told every verdict, and OnRetry every attempt that was sent into the next; they may be nil.
	OnVerdict func(verify.Result)
	OnRetry   func()
	Now       func() time.Time
	Log       *zap.SugaredLogger
}

// Admit judges one write to taskruns/status. Where the namespace's mode is audit it never refuses it.
func (h *StatusHandler) Admit(ctx context.Context, request *admissionv1.AdmissionRequest) (response *admissionv1.AdmissionResponse) {
	if !h.Scope.Ready() {
		unanswered()
	}
	log := h.Log.With("namespace", request.Namespace, "taskRun", request.Name, "user", report.Safe(request.UserInfo.Username))
	ctx = logging.WithLogger(ctx, log)
	s, mode := h.Scope.Settings(), h.Scope.Enforcement(request.Namespace)
	defer func() {
		if p := recover(); p != nil {
			log.Errorw("the status webhook failed", "panic", p, zap.Stack("stack"))
			response = notVerified(mode, errors.New("internal error"))
		}
	}()
	if s.Backend == signing.BackendNone || !h.Scope.InScope(request.Namespace) {
		return allow()
	}
	response, err := h.admit(ctx, request, s, mode)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		log.Warnw("refused a write", "reason", refused.reason, "message", refused.message)
		return refuse(refused)
	case err != nil:
		log.Errorw("this TaskRun was not verified", zap.Error(err))
		return notVerified(mode, err)
	}
	return response
}

// unanswered ends a call without an answer, so that the failure policy of the webhook's entry decides: only the API server
// knows which of them it called.
func unanswered() { panic(http.ErrAbortHandler) }

// notVerified answers for a write that could not be judged: audit lets it pass, enforce does not. Tekton's controller writes
// again what was refused.
func notVerified(mode settings.Enforcement, err error) *admissionv1.AdmissionResponse {
	if mode == settings.Enforce {
		return refuse(&refusal{metav1.StatusReasonInternalError, http.StatusInternalServerError,
			"this TaskRun could not be verified, and results are enforced in its namespace: " + report.Safe(err.Error()) +
				"; nothing was stored, and Tekton tries again"})
	}
	return allowWithWarning("this TaskRun was not verified: %s", report.Safe(err.Error()))
}

func (h *StatusHandler) admit(
	ctx context.Context, request *admissionv1.AdmissionRequest, s settings.Settings, mode settings.Enforcement,
) (*admissionv1.AdmissionResponse, error) {
	old, err := parseObject(request.OldObject.Raw)
	if err != nil {
		return nil, fmt.Errorf("old object: %w", err)
	}
	submitted, err := parseObject(request.Object.Raw)
	if err != nil {
		return nil, err
	}
	if old.managedByOther() {
		return allow(), nil
	}
	w := write{old: old, submitted: submitted, settings: s, mode: mode, accounts: h.Accounts, by: request.UserInfo.Username}
	if err := w.refused(); err != nil {
		return nil, err
	}
	wanted, err := h.decide(ctx, w.pinned())
	if err != nil {
		return nil, err
	}
	if h.OnRetry != nil && submitted.complete() && !wanted.complete() {
		h.OnRetry()
	}
	response := allow()
	if patch := submitted.patchTo(wanted); len(patch) > 0 {
		if response, err = allowPatched(patch); err != nil {
			return nil, err
		}
	}
	if w.changesDeclaration() {
		response.Warnings = append(response.Warnings, warning("status.taskSpec is fixed once it was set: the change was not stored"))
	}
	return response, nil
}

// decide returns the status that is to be stored. What a judgement rests on is judged again whenever it changes.
func (h *StatusHandler) decide(ctx context.Context, w write) (state, error) {
	switch {
	case w.old.complete() && w.old.judged() && sameJudged(w.old, w.submitted):
		return w.carried()
	case !w.submitted.complete():
		return h.running(ctx, w)
	case w.submitted.succeeded().Status == "False" && w.submitted.ranNothing() && w.old.ranNothing():
		return w.submitted.withoutVerdict()
	}
	result, err := h.judge(ctx, w.settings, w.mode, w.old, w.submitted.state)
	switch {
	case err != nil:
		return nil, err
	case result.Premature() && !w.old.judged():
		return w.submitted.withoutVerdict() // judged late, when clock and keys are right or by a replica whose are
	}
	return w.judged(result, h.Now())
}

// running returns the status of a TaskRun that is not completed: no verdict is due. An attempt that Tekton archived in this
// write is judged by itself.
func (h *StatusHandler) running(ctx context.Context, w write) (state, error) {
	wanted, err := w.submitted.withoutVerdict()
	if err != nil {
		return nil, err
	}
	if err := wanted.setCondition(awaiting(h.Now())); err != nil {
		return nil, err
	}
	attempts, err := w.submitted.attempts()
	if err != nil {
		return nil, err
	}
	before, err := w.old.attempts()
	if err != nil {
		return nil, err
	}
	for n := len(before); n < len(attempts); n++ {
		attempt := attempts[n].clone()
		if err := attempt.setAttempts(attempts[:n]); err != nil {
			return nil, err
		}
		result, err := h.judge(ctx, w.settings, w.mode, w.old, attempt)
		if err != nil {
			return nil, err
		}
		if attempts[n], err = w.judgedAttempt(attempts[n], result, h.Now()); err != nil {
			return nil, err
		}
	}
	if len(attempts) > len(before) {
		err = wanted.setAttempts(attempts)
	}
	return wanted, err
}

// judge verifies the TaskRun as it will be stored. What cannot be evaluated is INDETERMINATE, so that a condition set by hand
// does not stand. It is an error where enforce would fail a TaskRun for what may have passed in a moment.
func (h *StatusHandler) judge(
	ctx context.Context, s settings.Settings, mode settings.Enforcement, old object, submitted state,
) (verify.Result, error) {
	log := logging.FromContext(ctx)
	tr, err := asStored(old, submitted)
	if err != nil {
		return indeterminate("input", err), nil
	}
	declared := old.state[fieldTaskSpec]
	facts := verify.Facts{
		Live: true, RequirePod: true,
		// What Tekton set before the write that completes the TaskRun is what it ran.
		Pinned: !old.complete() && !isNull(declared) && sameJSON(declared, submitted[fieldTaskSpec]),
	}
	if facts.Pod, err = h.lookAtPod(ctx, tr); err != nil {
		if mode == settings.Enforce {
			return verify.Result{}, fmt.Errorf("reading the TaskRun's pod: %w", err)
		}
		log.Errorw("reading the TaskRun's pod", zap.Error(err)) // facts.Pod stays nil: not looked
	}
	rules := Rules{AudiencePrefix: s.AudiencePrefix, Lifetime: s.TokenLifetime, MinimumFormat: s.MinimumFormatIn(mode)}
	result, err := h.Verifier.TaskRun(ctx, rules, tr, facts)
	if err != nil {
		if mode == settings.Enforce {
			return verify.Result{}, err
		}
		return indeterminate(string(verify.CheckKey), err), nil
	}
	if result.Premature() {
		if mode == settings.Enforce {
			return verify.Result{}, errors.New(failureMessage(result))
		}
		log.Errorw("the clock or the keys of this replica are behind those of the API server", "message", failureMessage(result))
	}
	if mode == settings.Enforce && result.Verdict == verify.NoResults {
		result.Verdict, result.Reason = verify.Unsigned, string(verify.CheckCoverage)
		result.Message = "no step of the TaskRun is signed, and its namespace enforces signed results"
	}
	if h.OnVerdict != nil {
		h.OnVerdict(result)
	}
	log.Infow("verified", "verdict", result.Verdict, "reason", result.Reason, "uid", result.TaskRun.UID)
	return result, nil
}

func indeterminate(reason string, err error) verify.Result {
	return verify.Result{Verdict: verify.Indeterminate, Reason: reason, Message: err.Error()}
}

// lookAtPod reads who the pod called status.podName is.
func (h *StatusHandler) lookAtPod(ctx context.Context, tr *v1.TaskRun) (*verify.PodFacts, error) {
	if tr.Status.PodName == "" {
		return &verify.PodFacts{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	pod, err := h.Pods.Get(ctx, tr.Namespace, tr.Status.PodName)
	if apierrors.IsNotFound(err) {
		return &verify.PodFacts{}, nil
	}
	if err != nil {
		return nil, err
	}
	return verify.FactsOf(pod), nil
}

// encode is json.Marshal for what always encodes but may be hostile in size or depth.
func encode(value any) (json.RawMessage, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encoding the status: %w", err)
	}
	return raw, nil
}
