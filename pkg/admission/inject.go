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
	kjson "sigs.k8s.io/json"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// Injection is how a pod is to be injected.
type Injection struct {
	Delivery settings.Delivery // image or init
	Step     step.Options
	// PullSecrets are names of Secrets in the pod's namespace with which the signer's image is pulled.
	PullSecrets []string
	Patience    time.Duration // of a step, for its token
	Required    bool          // results are of no use without evidence
}

// Patience of a step's signer. In audit a build must not wait for long for evidence that nobody has to have. Where results are
// enforced, a step that is not signed fails its TaskRun, and a leader that died is replaced in less.
const (
	auditPatience   = 5 * time.Second
	enforcePatience = 30 * time.Second
)

func patienceIn(mode settings.Enforcement) time.Duration {
	if mode == settings.Enforce {
		return enforcePatience
	}
	return auditPatience
}

// Injector returns pod with its steps wrapped in the signer. It never changes pod itself. A pod that cannot be injected
// comes back as Tekton made it, with the reason; a pod that needs nothing, without one.
type Injector func(pod *corev1.Pod, injection Injection) (injected *corev1.Pod, reason string, err error)

// InjectHandler wraps the steps of TaskRuns' pods in the signer.
type InjectHandler struct {
	Scope    Scope
	Delivery func(wanted settings.Delivery) settings.Delivery
	Inject   Injector
	Tekton   string // the user that makes the pods of TaskRuns
	Log      *zap.SugaredLogger
}

// Admit answers for one pod that is being created. It refuses none but where results are enforced and the pod will not sign: that
// would fail its TaskRun in the end.
func (h *InjectHandler) Admit(_ context.Context, request *admissionv1.AdmissionRequest) (response *admissionv1.AdmissionResponse) {
	if !h.Scope.Ready() {
		unanswered()
	}
	log := h.Log.With("namespace", request.Namespace)
	s, mode := h.Scope.Settings(), h.Scope.Enforcement(request.Namespace)
	defer func() {
		if p := recover(); p != nil {
			log.Errorw("the inject webhook failed", "panic", p, zap.Stack("stack"))
			response = notInjected(mode, errors.New("internal error"))
		}
	}()
	if s.Backend == signing.BackendNone || !h.Scope.InScope(request.Namespace) {
		return allow()
	}
	response, err := h.admit(request, s, mode, log)
	if err != nil {
		log.Errorw("this pod will not sign", "pod", request.Name, zap.Error(err))
		return notInjected(mode, err)
	}
	return response
}

// notInjected answers for a pod that could not be injected.
func notInjected(mode settings.Enforcement, err error) *admissionv1.AdmissionResponse {
	if mode == settings.Enforce {
		return refuse(&refusal{metav1.StatusReasonInternalError, http.StatusInternalServerError,
			"this pod would not sign, and results are enforced in its namespace: " + report.Safe(err.Error())})
	}
	return allowWithWarning("this pod will not sign: %s", report.Safe(err.Error()))
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
	injected, reason, err := h.Inject(pod, Injection{
		Delivery: h.Delivery(s.Delivery), Step: s.Step(), Patience: patienceIn(mode), Required: mode == settings.Enforce,
		PullSecrets: s.PullSecrets,
	})
	if err != nil {
		return nil, err
	}
	if reason != "" {
		log.Infow("this pod will not sign", "pod", cmp.Or(pod.Name, pod.GenerateName), "reason", reason)
		if mode == settings.Enforce && h.Tekton != "" && request.UserInfo.Username == h.Tekton {
			return refuse(&refusal{metav1.StatusReasonForbidden, http.StatusForbidden,
				"this pod would not sign, and results are enforced in its namespace: " + report.Safe(reason)}), nil
		}
	}
	patch, err := podPatch(pod, noted(injected, reason))
	if err != nil {
		return nil, err
	}
	response := allow()
	if len(patch) > 0 {
		if response, err = allowPatched(patch); err != nil {
			return nil, err
		}
	}
	if reason != "" {
		response.Warnings = append(response.Warnings, warning("this pod will not sign: %s", report.Safe(reason)))
	}
	return response, nil
}

// noted returns the pod with the reason for which it will not sign, because the warning is lost: Tekton shows none.
func noted(pod *corev1.Pod, reason string) *corev1.Pod {
	reason = report.Cut(report.Safe(reason), maxWarning)
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

// podPatch returns the JSON patch from one pod to the other. Both are encoded by the same types, so that fields which these
// do not know appear in neither, and the patch leaves them alone.
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
