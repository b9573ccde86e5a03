// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/logging"
	kjson "sigs.k8s.io/json"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Tokens are the rules in force for the tokens that sign.
type Tokens struct {
	AudiencePrefix string
	Lifetime       time.Duration // the longest
}

// Verifier judges one TaskRun.
type Verifier interface {
	TaskRun(ctx context.Context, tokens Tokens, tr *v1.TaskRun, facts verify.Facts) (verify.Result, error)
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
}

// podTimeout bounds the one request to the API server that every verdict needs.
const podTimeout = 3 * time.Second

// StatusHandler verifies TaskRuns in the writes to their status.
type StatusHandler struct {
	Scope    Scope
	Verifier Verifier
	Pods     PodGetter
	Now      func() time.Time
	Log      *zap.SugaredLogger
}

// Admit judges one write to taskruns/status. It never refuses it.
func (h *StatusHandler) Admit(ctx context.Context, request *admissionv1.AdmissionRequest) (response *admissionv1.AdmissionResponse) {
	log := h.Log.With("namespace", request.Namespace, "taskRun", request.Name, "user", request.UserInfo.Username)
	ctx = logging.WithLogger(ctx, log)
	defer func() {
		if p := recover(); p != nil {
			log.Errorw("the status webhook failed", "panic", p, zap.Stack("stack"))
			response = allowWithWarning("this TaskRun was not verified: internal error")
		}
	}()
	if !h.Scope.Ready() {
		return allowWithWarning("this TaskRun was not verified: the add-on is starting")
	}
	s := h.Scope.Settings()
	if s.Backend == signing.BackendNone || !h.Scope.InScope(request.Namespace) {
		return allow()
	}
	response, err := h.admit(ctx, request, s)
	if err != nil {
		log.Errorw("this TaskRun was not verified", zap.Error(err))
		return allowWithWarning("this TaskRun was not verified: %s", report.Safe(err.Error()))
	}
	return response
}

func (h *StatusHandler) admit(ctx context.Context, request *admissionv1.AdmissionRequest, s settings.Settings) (*admissionv1.AdmissionResponse, error) {
	old, err := parseObject(request.OldObject.Raw)
	if err != nil {
		return nil, fmt.Errorf("old object: %w", err)
	}
	submitted, err := parseObject(request.Object.Raw)
	if err != nil {
		return nil, err
	}
	if (!old.complete() && !submitted.complete()) || managedByOther(old) {
		return allow(), nil
	}
	d, err := h.decide(ctx, s, old, submitted)
	if err != nil {
		return nil, err
	}
	patch := d.patch(submitted)
	if len(patch) == 0 {
		return allow(), nil
	}
	return allowPatched(patch)
}

// managedByOther reports whether somebody else than Tekton's controller runs the TaskRun.
func managedByOther(old object) bool {
	var spec struct {
		ManagedBy *string `json:"managedBy"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(old.fields["spec"], &spec); err != nil {
		return false
	}
	return spec.ManagedBy != nil && *spec.ManagedBy != tektonManager
}

// tektonManager is the value of spec.managedBy that means Tekton's own controller, as an absent one does.
const tektonManager = "tekton.dev/pipeline"

// decision is what becomes of a write.
type decision struct {
	carried json.RawMessage // our condition of the old object, to be kept as it is
	cond    *condition      // or else a new one; both nil: none
	results []json.RawMessage
	strip   bool // replace status.results by results
}

// decide judges the write, unless it changes nothing that a judgement rests on.
func (h *StatusHandler) decide(ctx context.Context, s settings.Settings, old, submitted object) (decision, error) {
	if old.complete() && old.judged() && sameJudged(old, submitted) {
		return decision{carried: old.ours()[0]}, nil
	}
	if !submitted.complete() {
		return decision{cond: newCondition(corev1.ConditionUnknown, verify.ReasonAwaitingResults,
			"the TaskRun is not completed", h.Now())}, nil
	}
	if submitted.succeeded().Status == string(corev1.ConditionFalse) && submitted.ranNothing() && old.ranNothing() {
		return decision{}, nil
	}
	result := h.judge(ctx, s, old, submitted)
	d := decision{cond: conditionFor(result, h.Now())}
	if result.Verdict == verify.Verified {
		var err error
		if d.results, d.strip, err = submitted.resultsWithoutCarriers(); err != nil {
			return decision{}, err
		}
	}
	logging.FromContext(ctx).Infow("verified", "verdict", result.Verdict, "reason", result.Reason, "uid", result.TaskRun.UID)
	return d, nil
}

// judge verifies the TaskRun as it will be stored. What cannot be evaluated is INDETERMINATE, so that a condition set by
// hand does not stand.
func (h *StatusHandler) judge(ctx context.Context, s settings.Settings, old, submitted object) verify.Result {
	tr, err := asStored(old, submitted)
	if err != nil {
		return indeterminate("input", err)
	}
	facts := verify.Facts{Live: true, RequirePod: true}
	if facts.Pod, err = h.lookAtPod(ctx, tr); err != nil {
		logging.FromContext(ctx).Errorw("reading the TaskRun's pod", zap.Error(err)) // facts.Pod stays nil: not looked
	}
	result, err := h.Verifier.TaskRun(ctx, Tokens{AudiencePrefix: s.AudiencePrefix, Lifetime: s.TokenLifetime}, tr, facts)
	if err != nil {
		return indeterminate(string(verify.CheckKey), err)
	}
	return result
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

// patch returns the operations that make the submitted object agree with the decision.
func (d decision) patch(submitted object) []operation {
	var patch []operation
	have := submitted.ours()
	var wanted any
	same := false
	switch {
	case d.carried != nil:
		wanted = d.carried
		same = len(have) == 1 && sameJSON(have[0], d.carried)
	case d.cond != nil:
		wanted = d.cond
		same = len(have) == 1 && sameCondition(have[0], d.cond)
	default:
		same = len(have) == 0
	}
	if !same {
		patch = append(patch, submitted.setConditions(submitted.conditionsWith(wanted)))
	}
	switch {
	case d.strip && len(d.results) == 0:
		patch = append(patch, operation{Op: "remove", Path: "/status/results"})
	case d.strip:
		patch = append(patch, operation{Op: "add", Path: "/status/results", Value: d.results})
	}
	return patch
}
