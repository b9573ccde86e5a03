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
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Rules are what the settings require of evidence.
type Rules struct {
	Tokens        verify.Tokens
	MinimumFormat signing.Format // weaker evidence is refused
	// MinimumAssurance refuses what proves less; empty: nothing.
	MinimumAssurance signing.Assurance
	Receipts         bool // a receipt covers steps that left no evidence
}

// Verifier judges one TaskRun.
type Verifier interface {
	TaskRun(ctx context.Context, rules Rules, tr *v1.TaskRun, facts verify.Facts) (verify.Result, error)
}

// PodGetter reads one pod.
type PodGetter interface {
	// Get reads the metadata of a pod or, if whole, all of it, for what the kubelet reported of it.
	Get(ctx context.Context, namespace, name string, whole bool) (*corev1.Pod, error)
	// Log reads the log of one container of a pod, no more bytes of it than atMost.
	Log(ctx context.Context, namespace, name, container string, atMost int64) ([]byte, error)
}

// Scope is what the add-on does in which namespace.
type Scope interface {
	// Ready reports whether the add-on has seen the settings and the namespaces.
	Ready() bool
	Settings() settings.Settings
	InScope(namespace string) bool
	Enforcement(namespace string) settings.Enforcement
}

// Accounts are the users with a part in writing the status of a TaskRun.
type Accounts struct {
	Tekton string // of Tekton's controller, which writes it
	AddOn  string // of the add-on, which writes the record
}

const (
	// podTimeout bounds the one request to the API server that every verdict needs.
	podTimeout = 3 * time.Second
	// answerTimeout bounds everything for which one answer waits. With refreshTimeout, which requests share, it stays
	// below the ten seconds after which the API server gives up on the status webhook.
	answerTimeout = 7 * time.Second
)

// StatusHandler verifies TaskRuns in the writes to their status.
type StatusHandler struct {
	Scope    Scope
	Accounts Accounts
	Verifier Verifier
	Pods     PodGetter
	// SealKey is the key of the add-on's replicas. Without a key, verdicts have no seal and are judged again later.
	SealKey func() seal.Key
	// Since returns when a namespace got its signing tokens, or false if it did not. The policies did not protect older
	// TaskRuns.
	Since func(namespace string) (time.Time, bool)
	// Recorded returns the verdict in the record that a TaskRun carries, if the add-on made it of the TaskRun as it
	// is; it may be nil.
	Recorded func(ctx context.Context, rules Rules, tr *v1.TaskRun) (verify.Verdict, bool)
	OnRetry  func() // is told every attempt that was sent into the next; it may be nil
	// Signer signs the status of completed TaskRuns; nil if nothing does.
	Signer cluster.StatusClient
	// OnSigned is told every status that was to be signed; it may be nil.
	OnSigned func(error)
	Now      func() time.Time
	Log      *zap.SugaredLogger
}

// Admit judges one write to taskruns/status. If the namespace's mode is audit, it never refuses the write.
func (h *StatusHandler) Admit(ctx context.Context, request *admissionv1.AdmissionRequest) (
	response *admissionv1.AdmissionResponse) {
	if !h.Scope.Ready() {
		unanswered()
	}
	log := h.Log.With("namespace", request.Namespace, "taskRun", request.Name, "user",
		display.Safe(request.UserInfo.Username))
	ctx, cancel := context.WithTimeout(logging.WithLogger(ctx, log), answerTimeout)
	defer cancel()
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

// unanswered ends a call without an answer, so that the failure policy of the called webhook decides, which only the
// API server knows.
func unanswered() { panic(http.ErrAbortHandler) }

// notVerified answers for a write that could not be judged: audit admits it, and enforce does not. Tekton's
// controller tries a refused write again.
func notVerified(mode settings.Enforcement, err error) *admissionv1.AdmissionResponse {
	if mode == settings.Enforce {
		return refuse(&refusal{metav1.StatusReasonInternalError, http.StatusInternalServerError,
			"this TaskRun could not be verified, and results are enforced in its namespace: " + display.Safe(err.Error()) +
				"; nothing was stored, and Tekton tries again"})
	}
	return allowWithWarning("this TaskRun was not verified: %s", display.Safe(err.Error()))
}

func (h *StatusHandler) admit(
	ctx context.Context, request *admissionv1.AdmissionRequest, s settings.Settings, mode settings.Enforcement,
) (*admissionv1.AdmissionResponse, error) {
	old, err := parseObject(request.OldObject.Raw)
	if err != nil && (mode == settings.Enforce || old.id.UID == "") {
		return nil, fmt.Errorf("old object: %w", err)
	} // else whoever wrote that keeps nobody from being judged
	if old.id.Namespace != request.Namespace || old.id.Name != request.Name {
		return nil, fmt.Errorf("expected TaskRun %s/%s, got an object that says it is another", request.Namespace,
			request.Name)
	}
	ctx = withStored(ctx, old.id)
	submitted, err := parseObject(request.Object.Raw)
	if err != nil {
		return nil, err
	}
	w := write{old: old, submitted: submitted, settings: s, mode: mode, accounts: h.Accounts,
		by: request.UserInfo.Username}
	if !old.managedByOther() {
		if err := w.refused(); err != nil {
			return nil, err
		}
	}
	pinned := w.changesDeclaration() && !old.managedByOther()
	w = w.pinned()
	w.signed = h.signedBefore(ctx, w)
	wanted, err := h.decide(ctx, w)
	if err != nil && mode != settings.Enforce {
		logging.FromContext(ctx).Errorw("this TaskRun cannot be read", zap.Error(err))
		wanted, err = h.unreadable(ctx, w, err)
	}
	if err != nil {
		return nil, err
	}
	wanted, noRoom, err := h.withRoom(ctx, w, wanted)
	if err != nil {
		return nil, err
	}
	wanted = h.withSignature(ctx, w, wanted, noRoom == "")
	dryRun := request.DryRun != nil && *request.DryRun
	if h.OnRetry != nil && !dryRun && submitted.complete() && !wanted.complete() {
		h.OnRetry()
	}
	response := allow()
	if patch := submitted.patchTo(wanted); len(patch) > 0 {
		if response, err = allowPatched(patch); err != nil {
			return nil, err
		}
	}
	if noRoom != "" {
		response.Warnings = append(response.Warnings, noRoom)
	}
	if pinned {
		response.Warnings = append(response.Warnings,
			warning("status.taskSpec is fixed once it was set: the change was not stored"))
	}
	return response, nil
}

// decide returns the status to store. A verdict is given again whenever something changes on which it depends, and
// whenever nothing proves that the present one is the add-on's.
func (h *StatusHandler) decide(ctx context.Context, w write) (state, error) {
	if w.old.managedByOther() {
		return w.submitted.withoutVerdict(), nil // it is nobody's
	}
	w.before = h.standing(ctx, w)
	switch {
	case w.before.judged && sameJudged(w.old.state, w.submitted.state) && !w.losesVerdict():
		return h.carry(w), nil
	case !w.submitted.complete():
		return h.running(ctx, w)
	}
	var err error
	if w.submitted.state, err = h.withAttempts(ctx, w); err != nil {
		return state{}, err
	}
	if w.submitted.succeeded().Status == "False" && w.submitted.ranNothing() && w.old.ranNothing() {
		return unjudged(w.submitted.state), nil
	}
	result, facts, err := h.judgeWhole(ctx, w)
	switch {
	case err != nil:
		return state{}, err
	case result.Premature() && !w.before.judged:
		return unjudged(w.submitted.state), nil // judged late, when clock and keys are right or by a replica whose are
	}
	wanted, err := w.judged(result, h.Now())
	if err == nil && wanted.complete() {
		h.seal(ctx, w.old.id, &wanted, published(result, wanted), facts)
	}
	return wanted, err
}

// unreadable returns the status of a TaskRun that is too malformed to judge, without a verdict of another writer.
func (h *StatusHandler) unreadable(ctx context.Context, w write, why error) (state, error) {
	wanted := unjudged(w.submitted.state)
	if !wanted.complete() {
		return wanted, nil
	}
	found := indeterminate("input", why)
	if err := wanted.setCondition(conditionFor(found, h.Now())); err != nil {
		return state{}, err
	}
	h.seal(ctx, w.old.id, &wanted, found, verify.Facts{})
	return wanted, nil
}

// unjudged returns the status without any verdict.
func unjudged(s state) state {
	wanted := s.withoutVerdict()
	wanted.inOrder()
	return wanted
}

// maxAttempts is how many archived attempts are judged in one write. Tekton's controller adds one at a time.
const maxAttempts = 4

// running returns the status of a TaskRun that is not completed, and has no verdict yet.
func (h *StatusHandler) running(ctx context.Context, w write) (state, error) {
	judged, err := h.withAttempts(ctx, w)
	if err != nil {
		return state{}, err
	}
	wanted := judged.withoutVerdict()
	return wanted, wanted.setCondition(awaiting(h.Now()))
}

// withAttempts returns the submitted status with verdicts for the attempts that this write archived or changed, so
// that no condition in them comes from another writer.
func (h *StatusHandler) withAttempts(ctx context.Context, w write) (state, error) {
	attempts, err := w.submitted.attempts()
	if err != nil {
		return state{}, err
	}
	before, err := w.old.attempts()
	if err != nil {
		before = nil // they cannot be compared, so all are judged
	}
	first := 0
	for first < min(len(attempts), len(before)) && sameState(attempts[first], before[first]) {
		first++
	}
	for n := first; n < len(attempts); n++ {
		if attempts[n], err = h.attempt(ctx, w, attempts, n); err != nil {
			return state{}, err
		}
	}
	if len(attempts) == first {
		return w.submitted.state, nil
	}
	judged := w.submitted.clone()
	return judged, judged.setAttempts(attempts)
}

// attempt judges an archived attempt.
func (h *StatusHandler) attempt(ctx context.Context, w write, attempts []state, n int) (state, error) {
	nothing := attempts[n].succeeded().Status == "False" && attempts[n].ranNothing()
	if nothing || n < len(attempts)-maxAttempts {
		return attempts[n].withoutVerdict(), nil
	}
	attempt := attempts[n].clone()
	if err := attempt.setAttempts(attempts[:n]); err != nil {
		return state{}, err
	}
	result, facts, err := h.judge(ctx, w, attempt)
	if err != nil {
		return state{}, err
	}
	wanted, err := w.judgedAttempt(attempts[n], result, h.Now())
	if err == nil {
		h.sealAttempt(ctx, w.old.id, &wanted, n, seal.FactsOf(published(result, wanted), facts, h.Now()))
	}
	return wanted, err
}

// RulesOf returns what the settings require of evidence in a mode.
func RulesOf(s settings.Settings, mode settings.Enforcement) Rules {
	return Rules{
		Tokens: s.Tokens, MinimumFormat: s.MinimumFormatIn(mode), MinimumAssurance: s.MinimumAssurance,
		Receipts: s.ReceiptsIn(mode),
	}
}

// judge verifies the TaskRun as it will be stored. If it cannot be evaluated, the verdict is INDETERMINATE, so that
// a condition set by hand does not stay. It is an error if enforce would fail a TaskRun for a reason that may pass
// in a moment.
func (h *StatusHandler) judge(ctx context.Context, w write, submitted state) (verify.Result, verify.Facts, error) {
	log := logging.FromContext(ctx)
	// The values that Tekton set before the completing write are what it ran.
	declared := w.old.fields[fieldTaskSpec]
	facts := verify.Facts{
		Live: true, RequirePod: true,
		Pinned: !w.old.complete() && !isNull(declared) && sameJSON(declared, submitted.fields[fieldTaskSpec]),
	}
	tr, err := asStored(w.old, submitted)
	if err != nil {
		return indeterminate("input", err), facts, nil
	}
	rules := RulesOf(w.settings, w.mode)
	if facts.Pod, err = h.readPod(ctx, tr, rules.Receipts && verify.NeedsReceipt(tr)); err != nil {
		if w.mode == settings.Enforce {
			return verify.Result{}, facts, fmt.Errorf("reading the TaskRun's pod: %w", err)
		}
		log.Errorw("reading the TaskRun's pod", zap.Error(err)) // facts.Pod stays nil: not looked
	}
	result, err := h.verify(ctx, w, tr, &facts)
	if err != nil {
		if w.mode == settings.Enforce {
			return verify.Result{}, facts, err
		}
		return indeterminate(string(verify.CheckKey), err), facts, nil
	}
	if result.Premature() {
		if w.mode == settings.Enforce {
			return verify.Result{}, facts, errors.New(failureMessage(result))
		}
		log.Errorw("the clock or the keys of this replica are behind those of the API server", "message",
			failureMessage(result))
	}
	if w.mode == settings.Enforce && result.Verdict == verify.NoResults {
		result.Verdict, result.Reason = verify.Unsigned, string(verify.CheckCoverage)
		result.Message = "no step of the TaskRun is signed, and its namespace enforces signed results"
	}
	log.Infow("judged", "verdict", result.Verdict, "reason", result.Reason, "uid", result.TaskRun.UID)
	return result, facts, nil
}

func indeterminate(reason string, err error) verify.Result {
	return verify.Result{Verdict: verify.Indeterminate, Reason: reason, Message: err.Error()}
}

// encode is json.Marshal for values that always encode, but can be hostile in size or depth.
func encode(value any) (json.RawMessage, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encoding the status: %w", err)
	}
	return raw, nil
}
