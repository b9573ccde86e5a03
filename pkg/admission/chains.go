// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// MetadataPatcher changes the metadata of an object by a JSON merge patch.
type MetadataPatcher interface {
	Patch(ctx context.Context, resource schema.GroupVersionResource, namespace, name string, patch []byte) error
}

// holdTimeout bounds the one request to the API server that a missing hold needs.
const holdTimeout = 3 * time.Second

// ChainsHandler holds TaskRuns and PipelineRuns from Chains, in the first write to them, whoever makes it. That is nearly always
// Tekton's own, or Chains' when it sets its finalizer. A write to the status that completes an object without the hold is
// refused, after the hold was placed: a status write cannot change metadata.
type ChainsHandler struct {
	Scope   Scope
	Objects MetadataPatcher
	Now     func() time.Time
	Log     *zap.SugaredLogger
}

// Admit answers for one write to a TaskRun or PipelineRun, or to the status of one.
func (h *ChainsHandler) Admit(ctx context.Context, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	if !h.Scope.Ready() {
		unanswered()
	}
	s := h.Scope.Settings()
	if !s.GateChains || s.Backend == signing.BackendNone || !h.Scope.InScope(request.Namespace) {
		return allow()
	}
	old, submitted, err := bothObjects(request)
	if err != nil {
		return h.notHeld(request, err)
	}
	run := chains.Read(old)
	decision := chains.Decide(run, true, h.Now())
	if decision.Action != chains.Place {
		return allow()
	}
	if request.SubResource == "" {
		return h.hold(request, run, decision, submitted)
	}
	old.Object["status"] = submitted.Object["status"]
	if !chains.Read(old).Complete {
		return allow()
	}
	return h.holdFirst(ctx, request, run, decision)
}

func bothObjects(request *admissionv1.AdmissionRequest) (old, submitted *unstructured.Unstructured, err error) {
	old, submitted = &unstructured.Unstructured{}, &unstructured.Unstructured{}
	if err := json.Unmarshal(request.OldObject.Raw, &old.Object); err != nil {
		return nil, nil, fmt.Errorf("reading the old object: %w", err)
	}
	if err := json.Unmarshal(request.Object.Raw, &submitted.Object); err != nil {
		return nil, nil, fmt.Errorf("reading the object: %w", err)
	}
	return old, submitted, nil
}

// hold adds the hold to the write itself.
func (h *ChainsHandler) hold(
	request *admissionv1.AdmissionRequest, run chains.Run, decision chains.Decision, submitted *unstructured.Unstructured,
) *admissionv1.AdmissionResponse {
	run.Finalizers = submitted.GetFinalizers()
	response, err := allowPatched(decision.Change(run).JSONPatch(submitted.GetAnnotations()))
	if err != nil {
		return h.notHeld(request, err)
	}
	return response
}

// holdFirst places the hold by a request of its own, and has the write come again. Tekton's controller makes a write that met a
// conflict anew at once.
func (h *ChainsHandler) holdFirst(
	ctx context.Context, request *admissionv1.AdmissionRequest, run chains.Run, decision chains.Decision,
) *admissionv1.AdmissionResponse {
	if request.DryRun == nil || !*request.DryRun {
		if err := h.place(ctx, request, run, decision); err != nil {
			return h.notHeld(request, err)
		}
	}
	return refuse(&refusal{metav1.StatusReasonConflict, http.StatusConflict,
		fmt.Sprintf("this %s was not held from Tekton Chains yet; now it is: make the write again", run.Kind)})
}

func (h *ChainsHandler) place(
	ctx context.Context, request *admissionv1.AdmissionRequest, run chains.Run, decision chains.Decision,
) error {
	patch, err := decision.Change(run).MergePatch(run)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	resource := schema.GroupVersionResource(request.Resource)
	err = h.Objects.Patch(ctx, resource, request.Namespace, request.Name, patch)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // somebody was faster; the write that comes again shows what is there
	}
	if err != nil {
		return fmt.Errorf("placing the hold: %w", err)
	}
	return nil
}

// notHeld answers where the hold could not be placed: audit breaks no build for it.
func (h *ChainsHandler) notHeld(request *admissionv1.AdmissionRequest, err error) *admissionv1.AdmissionResponse {
	h.Log.Errorw("not held from Tekton Chains", "namespace", request.Namespace, "name", request.Name,
		"resource", request.Resource.Resource, zap.Error(err))
	text := "not held from Tekton Chains: " + report.Safe(err.Error())
	if request.SubResource != "" && h.Scope.Enforcement(request.Namespace) == settings.Enforce {
		return refuse(&refusal{metav1.StatusReasonInternalError, http.StatusInternalServerError, text + "; Tekton tries again"})
	}
	return allowWithWarning("%s", text)
}
