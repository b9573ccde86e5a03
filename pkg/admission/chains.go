// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Limits of refusals in audit, so that the gate never breaks a build there.
const (
	// holdAge is how long the add-on's leader has to place a hold that the first write missed. It takes about a second.
	holdAge = 10 * time.Second
	// holdTimeout is the shortest timeout of a TaskRun or PipelineRun that can wait for that.
	holdTimeout = time.Minute
)

// ChainsHandler holds TaskRuns and PipelineRuns from Chains in the first write to them, which is almost always
// Tekton's, or that of Chains when it sets its finalizer. If a status write completes an object without the hold, it
// is refused until the leader has placed the hold. A status write cannot change metadata, and a webhook changes
// nothing else.
type ChainsHandler struct {
	Scope Scope
	Now   func() time.Time
	Log   *zap.SugaredLogger
}

// Admit answers for one write to a TaskRun or PipelineRun, or to the status of one.
func (h *ChainsHandler) Admit(_ context.Context, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
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
	return h.notYet(request, run, old)
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

// notYet makes the client try the write again. After a conflict, Tekton's controller tries again at once, and then
// with growing pauses. In audit that ends after some time, by the object's age, which the API server sets. An object
// without a hold by then is not held.
func (h *ChainsHandler) notYet(
	request *admissionv1.AdmissionRequest, run chains.Run, old *unstructured.Unstructured,
) *admissionv1.AdmissionResponse {
	young := h.Now().Sub(old.GetCreationTimestamp().Time) < holdAge
	if h.Scope.Enforcement(request.Namespace) != settings.Enforce && (!young || timeoutOf(old) < holdTimeout) {
		return h.notHeld(request, errors.New("it completes before the add-on could hold it"))
	}
	return refuse(&refusal{metav1.StatusReasonConflict, http.StatusConflict,
		fmt.Sprintf("this %s is not held from Tekton Chains yet: make the write again in a moment", run.Kind)})
}

// timeoutOf returns the timeout of a TaskRun or PipelineRun, or the longest duration if it has none.
func timeoutOf(u *unstructured.Unstructured) time.Duration {
	least := time.Duration(math.MaxInt64)
	for _, path := range [][]string{{"timeout"}, {"timeouts", "pipeline"}, {"timeouts", "tasks"}} {
		text, _, _ := unstructured.NestedString(u.Object, append([]string{"spec"}, path...)...)
		if d, err := time.ParseDuration(text); err == nil && d > 0 {
			least = min(least, d)
		}
	}
	return least
}

// notHeld answers if the hold could not be placed: audit does not break a build for that.
func (h *ChainsHandler) notHeld(request *admissionv1.AdmissionRequest, err error) *admissionv1.AdmissionResponse {
	h.Log.Errorw("not held from Tekton Chains", "namespace", request.Namespace, "name", request.Name,
		"resource", request.Resource.Resource, zap.Error(err))
	text := "not held from Tekton Chains: " + display.Safe(err.Error())
	if request.SubResource != "" && h.Scope.Enforcement(request.Namespace) == settings.Enforce {
		return refuse(&refusal{metav1.StatusReasonInternalError, http.StatusInternalServerError,
			text + "; Tekton tries again"})
	}
	return allowWithWarning("%s", text)
}
