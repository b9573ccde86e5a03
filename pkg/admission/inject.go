// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/owner"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// Injection defines how to inject a pod.
type Injection struct {
	Delivery settings.Delivery // image or init
	Step     step.Options
	// PullSecrets are names of Secrets in the pod's namespace that pull the signer's image.
	PullSecrets []string
	Patience    time.Duration // of a step, for its token
	Required    bool          // a TaskRun fails without evidence
}

// How long a step's signer tries. In audit, a build must not wait long for evidence. In enforce, an unsigned step
// fails its TaskRun, and a dead leader is replaced within this time. In a namespace without a grant, the signer
// waits as long as it can.
const (
	auditPatience   = 5 * time.Second
	enforcePatience = 30 * time.Second
	grantPatience   = time.Minute
)

func (h *InjectHandler) patience(s settings.Settings, mode settings.Enforcement, namespace string) time.Duration {
	switch wait := s.StepWait(); {
	case wait != 0:
		return wait
	case mode != settings.Enforce:
		return auditPatience
	case !h.Granted(namespace):
		return grantPatience
	}
	return enforcePatience
}

// Injector returns the pod with its steps wrapped in the signer, and never changes the original. If it cannot inject
// a pod, it returns the pod as Tekton made it, with the reason. If there is nothing to do, there is no reason.
type Injector func(pod *corev1.Pod, injection Injection) (injected *corev1.Pod, reason string, err error)

// InjectHandler wraps the steps of TaskRuns' pods in the signer.
type InjectHandler struct {
	Scope    Scope
	Delivery func(wanted settings.Delivery) settings.Delivery
	// Exception returns the exception of a namespace or of a TaskRun.
	Exception func(namespace string, taskRun types.UID) (delivery.Entry, bool)
	Inject    Injector
	Granted   func(namespace string) bool // whether its pods can request signing tokens
	Tekton    string                      // the user that creates the pods of TaskRuns
	Keeper    string                      // the user that tries pods, as dry runs
	// OnLeftAlone is called for every pod that will not sign.
	OnLeftAlone func(LeftAlone)
	Log         *zap.SugaredLogger
}

// LeftAlone is the kind of reason why a pod does not sign.
type LeftAlone string

// The kinds of reasons.
const (
	LeftRefused LeftAlone = "refused"       // a policy refuses pods with the signer
	LeftStart   LeftAlone = "cannot-start"  // pods do not start with it
	LeftSkipped LeftAlone = "cannot-inject" // a property of this pod
	LeftTekton  LeftAlone = "tekton-signs"  // it signs, with Tekton's own signer, although the settings ask for ours
	LeftError   LeftAlone = "error"
)

// LeftAlones lists all kinds.
func LeftAlones() []LeftAlone {
	return []LeftAlone{LeftRefused, LeftStart, LeftSkipped, LeftTekton, LeftError}
}

// Admit answers for one pod that is being created. It refuses none but where results are enforced and the pod will
// not sign: that would fail its TaskRun in the end.
func (h *InjectHandler) Admit(_ context.Context, request *admissionv1.AdmissionRequest) (
	response *admissionv1.AdmissionResponse) {
	if !h.Scope.Ready() {
		unanswered()
	}
	log := h.Log.With("namespace", request.Namespace)
	s, mode := h.Scope.Settings(), h.Scope.Enforcement(request.Namespace)
	defer func() {
		if p := recover(); p != nil {
			log.Errorw("the inject webhook failed", "panic", p, zap.Stack("stack"))
			h.OnLeftAlone(LeftError)
			response = notInjected(mode, errors.New("internal error"))
		}
	}()
	if !backends.Of(s.Backend).Signs || !h.Scope.InScope(request.Namespace) || h.isTrial(request) {
		return allow()
	}
	response, err := h.admit(request, s, mode, log)
	if err != nil {
		log.Errorw("this pod will not sign", "pod", request.Name, zap.Error(err))
		h.OnLeftAlone(LeftError)
		return notInjected(mode, err)
	}
	return response
}

// isTrial reports whether this is a trial of the keeper, whose pod will not run.
func (h *InjectHandler) isTrial(request *admissionv1.AdmissionRequest) bool {
	return h.Keeper != "" && request.UserInfo.Username == h.Keeper && request.DryRun != nil && *request.DryRun
}

// notInjected answers for a pod that could not be injected.
func notInjected(mode settings.Enforcement, err error) *admissionv1.AdmissionResponse {
	if mode == settings.Enforce {
		return refuse(&refusal{metav1.StatusReasonInternalError, http.StatusInternalServerError,
			"this pod would not sign, and results are enforced in its namespace: " + display.Safe(err.Error())})
	}
	return allowWithWarning("this pod will not sign: %s", display.Safe(err.Error()))
}

func (h *InjectHandler) admit(
	request *admissionv1.AdmissionRequest, s settings.Settings, mode settings.Enforcement, log *zap.SugaredLogger,
) (*admissionv1.AdmissionResponse, error) {
	pod := &corev1.Pod{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(request.Object.Raw, pod); err != nil {
		return nil, fmt.Errorf("reading the pod: %w", err)
	}
	if pod.Namespace == "" { // left to the API server, which fills it in later
		pod.Namespace = request.Namespace
	}
	d, err := h.decide(pod, s, mode)
	if err != nil {
		return nil, err
	}
	if d.reason != "" {
		h.OnLeftAlone(d.kind)
		log.Infow(d.effect(), "pod", cmp.Or(pod.Name, pod.GenerateName), "reason", d.reason)
		if !d.signs() && mode == settings.Enforce && h.Tekton != "" && request.UserInfo.Username == h.Tekton {
			return refuse(&refusal{metav1.StatusReasonForbidden, http.StatusForbidden,
				"this pod would not sign, and results are enforced in its namespace: " + display.Safe(d.reason)}), nil
		}
	}
	return d.answer(pod)
}

// decision is what becomes of a pod.
type decision struct {
	pod    *corev1.Pod // with the signer, or as Tekton made it
	kind   LeftAlone
	reason string // why it has no signer of the add-on; empty if it is as the settings ask
}

// decide wraps the steps of a pod in the signer, or leaves the pod alone.
func (h *InjectHandler) decide(pod *corev1.Pod, s settings.Settings, mode settings.Enforcement) (decision, error) {
	switch left, ok := backends.Leave(s, mode, inject.TektonSigns(pod)); {
	case ok && left.Signs:
		return decision{pod, LeftTekton, left.Reason}, nil
	case ok:
		return decision{pod, LeftSkipped, left.Reason}, nil
	}
	by, exception := h.deliveryTo(pod, s, mode)
	if by == delivery.None {
		return decision{pod, leftBy(exception), notDelivered(exception)}, nil
	}
	injected, reason, err := h.Inject(pod, Injection{
		Delivery: by, Step: s.Step(), Patience: h.patience(s, mode, pod.Namespace), Required: mode == settings.Enforce,
		PullSecrets: s.PullSecrets,
	})
	return decision{injected, LeftSkipped, reason}, err
}

// signs reports whether the pod signs although it has no signer of the add-on.
func (d decision) signs() bool { return d.kind == LeftTekton }

// effect is what the reason leads to, for people.
func (d decision) effect() string {
	if d.signs() {
		return "this pod gets no signer of the add-on"
	}
	return "this pod will not sign"
}

// answer returns the response with the pod and the reason.
func (d decision) answer(pod *corev1.Pod) (*admissionv1.AdmissionResponse, error) {
	patch, err := podPatch(pod, noted(d.pod, d.reason))
	if err != nil {
		return nil, err
	}
	response := allow()
	if len(patch) > 0 {
		if response, err = allowPatched(patch); err != nil {
			return nil, err
		}
	}
	if d.reason != "" {
		response.Warnings = append(response.Warnings, warning("%s: %s", d.effect(), display.Safe(d.reason)))
	}
	return response, nil
}

// deliveryTo returns how a pod gets the signer, or delivery.None with the exception behind it. In enforce, pods that
// could not start, or that a policy refused, are tried again, because no pod may run without the signer, and the
// obstacle can have gone.
func (h *InjectHandler) deliveryTo(pod *corev1.Pod, s settings.Settings, mode settings.Enforcement) (
	settings.Delivery, delivery.Entry) {
	wanted := h.Delivery(s.Delivery)
	e, ok := h.Exception(pod.Namespace, taskRunUID(pod))
	switch {
	case !ok, mode == settings.Enforce && e.Delivery == delivery.None && e.Source != delivery.Trial:
		return wanted, delivery.Entry{}
	case e.Delivery == settings.DeliveryImage && wanted != settings.DeliveryImage &&
		h.Delivery(settings.DeliveryAuto) != settings.DeliveryImage:
		return delivery.None, e // the nodes have changed since
	}
	return e.Delivery, e
}

// taskRunUID returns the UID of the TaskRun that controls a pod. It is empty if none does.
func taskRunUID(pod *corev1.Pod) types.UID {
	if ref := owner.Controller(pod, owner.TaskRun); ref != nil {
		return ref.UID
	}
	return ""
}

// doNotStart reports whether pods with the signer are created, but do not start.
func doNotStart(e delivery.Entry) bool {
	return e.Source == delivery.Start || e.Source == delivery.Mount || e.Source == delivery.Once
}

func leftBy(e delivery.Entry) LeftAlone {
	if doNotStart(e) {
		return LeftStart
	}
	return LeftRefused
}

// notDelivered describes why the signer is not delivered to a namespace.
func notDelivered(e delivery.Entry) string {
	switch {
	case e.Source == delivery.Once:
		return "the pod of this TaskRun did not start with the signer: " + e.Reason
	case doNotStart(e):
		return "pods of this namespace do not start with the signer: " + e.Reason
	}
	return "pods of this namespace with the signer are refused: " + e.Reason
}

// noted returns the pod with the reason why it will not sign in an annotation, because Tekton does not show the
// warning.
func noted(pod *corev1.Pod, reason string) *corev1.Pod {
	reason = display.Cut(display.Safe(reason), maxWarning)
	if pod.Annotations[signing.UnsignedAnnotation] == reason {
		return pod
	}
	pod = pod.DeepCopy()
	if reason == "" {
		delete(pod.Annotations, signing.UnsignedAnnotation)
		return pod
	}
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, signing.UnsignedAnnotation, reason)
	return pod
}

// podPatch returns the JSON patch from one pod to the other. Both are encoded with the same types, so the patch does
// not change fields that these types lack.
func podPatch(before, after *corev1.Pod) ([]jsonpatch.Operation, error) {
	a, err := json.Marshal(before)
	if err != nil {
		return nil, fmt.Errorf("encoding the pod: %w", err)
	}
	b, err := json.Marshal(after)
	if err != nil {
		return nil, fmt.Errorf("encoding the injected pod: %w", err)
	}
	patch, err := jsonpatch.CreatePatch(a, b)
	if err != nil {
		return nil, fmt.Errorf("comparing the pods: %w", err)
	}
	return patch, nil
}
