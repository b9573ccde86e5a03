// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/pipelines"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Limits of one call: how much it reads, and for how long. The API server waits ten seconds.
const (
	maxProducers    = 300 // children whose results a task uses; Tekton's own limit of a matrix is 256
	readTimeout     = 3 * time.Second
	consumerTimeout = 8 * time.Second
)

// ObjectReader reads one object from the API server, not from a cache.
type ObjectReader interface {
	Get(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured,
		error)
}

// ChildJudge reports whether the results of a completed TaskRun are verified. If not, why is the reason. The error
// means that this is not known yet.
type ChildJudge interface {
	Verified(ctx context.Context, stored *unstructured.Unstructured, tr *v1.TaskRun) (ok bool, why string, err error)
}

// CustomTasks reports which custom tasks have trusted controllers.
type CustomTasks interface {
	TrustedCustomTask(apiVersion, kind string) bool
}

// ConsumerHandler allows a task of a pipeline to start only with values of verified children of the PipelineRun. It
// is called when a child of a PipelineRun is created, in namespaces whose mode is enforce.
//
// The status code decides what Tekton does when it cannot create a child. After 400 Bad Request, the PipelineRun
// fails with our message (CreateRunFailed). After anything else, Tekton stores the PipelineRun's status and tries
// again, with growing pauses, until the PipelineRun's timeout. So a permanent reason is a bad request. A reason that
// can pass is a conflict, which causes the fewest events.
type ConsumerHandler struct {
	Scope  Scope
	Reader ObjectReader
	Judge  ChildJudge
	Custom CustomTasks
	Log    *zap.SugaredLogger
}

// Admit answers for one TaskRun, CustomRun or PipelineRun that is created.
func (h *ConsumerHandler) Admit(ctx context.Context,
	request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	if !h.Scope.Ready() {
		unanswered()
	}
	if h.Scope.Settings().Backend == signing.BackendNone || !h.Scope.InScope(request.Namespace) ||
		h.Scope.Enforcement(request.Namespace) != settings.Enforce {
		return allow()
	}
	ctx, cancel := context.WithTimeout(ctx, consumerTimeout)
	defer cancel()
	err := h.admit(ctx, request)
	if err == nil {
		return allow()
	}
	var refused *refusal
	if !errors.As(err, &refused) {
		refused = later("%s", err)
	}
	h.Log.Warnw("refused a child of a PipelineRun", "namespace", request.Namespace, "name", request.Name,
		"resource", request.Resource.Resource, "reason", refused.reason, "message", refused.message)
	return refuse(refused)
}

// never refuses for good. Tekton formats its condition's message with this text, so a percent sign would be a verb.
func never(format string, args ...any) *refusal {
	return &refusal{metav1.StatusReasonBadRequest, http.StatusBadRequest, consumerMessage(format, args...)}
}

// later refuses for now.
func later(format string, args ...any) *refusal {
	return &refusal{metav1.StatusReasonConflict, http.StatusConflict, consumerMessage(format, args...) +
		"; Tekton tries again"}
}

func consumerMessage(format string, args ...any) string {
	return strings.ReplaceAll(display.Cut(display.Safe(fmt.Sprintf(format, args...)), 2*maxMessage), "%", "")
}

// consumer is the part of the created object that is read.
type consumer struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Params   v1.Params    `json:"params"`
		TaskRef  *v1.TaskRef  `json:"taskRef"`
		TaskSpec *v1.TaskSpec `json:"taskSpec"`
	} `json:"spec"`
}

func (h *ConsumerHandler) admit(ctx context.Context, request *admissionv1.AdmissionRequest) error {
	var c consumer
	if err := strictjson.DecodeOpen(request.Object.Raw, &c); err != nil {
		return never("the object cannot be read: %s", err)
	}
	at := slices.IndexFunc(c.OwnerReferences, isPipelineRun)
	if at < 0 {
		return nil
	}
	owner := metav1.GetControllerOf(&c)
	if owner == nil || !isPipelineRun(*owner) {
		return adopted(&c, c.OwnerReferences[at])
	}
	p := &pipelineOf{handler: h, namespace: request.Namespace}
	if err := p.read(ctx, owner); err != nil {
		return err
	}
	return p.admit(ctx, request.Resource.Resource, &c)
}

func isPipelineRun(o metav1.OwnerReference) bool {
	return o.Kind == pipelines.KindPipelineRun && strings.HasPrefix(o.APIVersion, "tekton.dev/")
}

// adopted refuses an object without a controller that Tekton would adopt by its label and owner.
func adopted(c *consumer, owner metav1.OwnerReference) error {
	if c.Labels[pipeline.PipelineRunLabelKey] == "" {
		return nil
	}
	return never("%s bears the label %s and has PipelineRun %s as owner: expected that to be its controller, got %s",
		c.Name, pipeline.PipelineRunLabelKey, owner.Name, pipelines.Controller(c))
}

// pipelineOf is the PipelineRun whose child is created.
type pipelineOf struct {
	handler   *ConsumerHandler
	namespace string
	run       v1.PipelineRun
	spec      *v1.PipelineSpec
}

// read reads the PipelineRun, and the pipeline that it runs.
func (p *pipelineOf) read(ctx context.Context, owner *metav1.OwnerReference) error {
	if err := p.get(ctx, "pipelineruns", owner.Name, &p.run); err != nil {
		return err
	}
	if p.run.UID != owner.UID {
		return never("PipelineRun %s: expected UID %s, got %s: another one of that name", owner.Name, owner.UID, p.run.UID)
	}
	spec, resolved := p.run.Spec.PipelineSpec, p.run.Status.PipelineSpec
	if spec != nil && resolved != nil {
		if d := pipelines.ComparePipelines(spec, resolved); d != nil {
			return never("PipelineRun %s: its status holds another pipeline than its spec: %s: expected %s, got %s", owner.Name,
				d.What, display.Short(d.Expected, maxValue), display.Short(d.Got, maxValue))
		}
	}
	p.spec = resolved
	if p.spec == nil {
		p.spec = spec
	}
	if label, where := pipelines.Relabels(&p.run, spec, resolved); label != "" {
		return never("PipelineRun %s: %s has Tekton write the label %s, by which a child's task is known: leave it out",
			owner.Name, where, label)
	}
	if ref := p.run.Spec.PipelineRef; p.spec == nil && ref != nil && ref.Name != "" && ref.Resolver == "" {
		var pipeline v1.Pipeline
		if err := p.get(ctx, "pipelines", ref.Name, &pipeline); err != nil {
			return err
		}
		p.spec = &pipeline.Spec
	}
	if p.spec == nil {
		return later("PipelineRun %s: its status does not hold its pipeline yet", owner.Name)
	}
	return nil
}

// get reads one object of the namespace.
func (p *pipelineOf) get(ctx context.Context, plural, name string, into any) error {
	_, err := p.getStored(ctx, plural, name, into)
	return err
}

// getStored also returns the object in its stored form.
func (p *pipelineOf) getStored(ctx context.Context, plural, name string, into any) (*unstructured.Unstructured, error) {
	version := "v1"
	if plural == "customruns" {
		version = "v1beta1"
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resource := schema.GroupVersionResource{Group: "tekton.dev", Version: version, Resource: plural}
	found, err := p.handler.Reader.Get(ctx, resource, p.namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, never("%s %s is gone", plural, name)
	}
	if err != nil {
		return nil, later("reading %s %s: %s", plural, name, err)
	}
	data, err := found.MarshalJSON()
	if err != nil {
		return nil, never("%s %s cannot be read: %s", plural, name, err)
	}
	if err := strictjson.DecodeOpen(data, into); err != nil {
		return nil, never("%s %s cannot be read: %s", plural, name, err)
	}
	return found, nil
}
