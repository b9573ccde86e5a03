// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/pipelines"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// maxNested is how many levels of child PipelineRuns are read.
const maxNested = 8

// Resource returns a resource of Tekton in the version that is read.
func Resource(plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: plural}
}

// resourceOfKind returns the resource of a kind of child, or false if this kind is not read.
func resourceOfKind(kind string) (schema.GroupVersionResource, bool) {
	switch kind {
	case pipelines.KindTaskRun:
		return Resource(TaskRuns), true
	case pipelines.KindPipelineRun:
		return Resource(PipelineRuns), true
	case pipelines.KindCustomRun:
		return schema.GroupVersionResource{Group: "tekton.dev", Version: "v1beta1", Resource: "customruns"}, true
	}
	return schema.GroupVersionResource{}, false
}

// childReader reads the children of PipelineRuns.
type childReader struct {
	client          dynamic.Interface
	explain         func(error) error
	allowCustomRuns bool
	yield           func(Subject) bool
}

// taskRunsOf yields the TaskRuns of the PipelineRun in data, and then the PipelineRun. It reports whether to go on.
func (s Selection) taskRunsOf(ctx context.Context, c Cluster, place string, data []byte,
	yield func(Subject) bool) bool {
	config, err := c.Connect()
	if err != nil {
		return yield(*failing(place, err))
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return yield(*failing(place, err))
	}
	f := &childReader{client: client, explain: c.Explain, allowCustomRuns: s.AllowCustomRuns, yield: yield}
	_, more := f.of(ctx, place, data, 0)
	return more
}

// of yields the children that the PipelineRun refers to, in that order, then those that it owns without a reference,
// and then the PipelineRun itself. It returns nil if the PipelineRun cannot be read.
func (f *childReader) of(ctx context.Context, place string, data []byte, depth int) (_ *PipelineRun, more bool) {
	r := &PipelineRun{place: place, allowCustomRuns: f.allowCustomRuns}
	if err := strictjson.DecodeOpen(data, &r.pipelineRun); err != nil {
		return nil, f.yield(*failing(place, err))
	}
	pr := &r.pipelineRun
	for _, note := range notesOn(place, pr) {
		if !f.yield(Subject{Note: note}) {
			return r, false
		}
	}
	owned, err := f.owned(ctx, pr)
	if err != nil {
		r.unlisted = f.explain(fmt.Errorf("listing its TaskRuns: %w", err))
		if !f.yield(*failing(place, r.unlisted)) {
			return r, false
		}
	}
	for _, reference := range pr.Status.ChildReferences {
		m, more := f.child(ctx, r, reference, owned, depth)
		r.members = append(r.members, m)
		if !more {
			return r, false
		}
	}
	for _, reference := range pr.Status.ChildReferences {
		if reference.Kind == pipelines.KindTaskRun {
			delete(owned, reference.Name)
		}
	}
	return r, f.strays(r, owned) && f.end(r)
}

// strays yields the TaskRuns that have the PipelineRun as an owner without a reference to them.
func (f *childReader) strays(r *PipelineRun, owned map[string]*unstructured.Unstructured) bool {
	for _, name := range slices.Sorted(maps.Keys(owned)) {
		r.strays = append(r.strays, owned[name])
		if !f.yield(handOut(owned[name])) {
			return false
		}
	}
	return true
}

// end yields the PipelineRun itself.
func (f *childReader) end(r *PipelineRun) bool {
	if r.running() && !f.yield(Subject{Note: r.place + " is not completed: more TaskRuns may follow", Running: true}) {
		return false
	}
	empty := len(r.members)+len(r.strays) == 0 && !r.running() && r.unlisted == nil
	if empty && !f.yield(*failing(r.place, &Problem{verify.Unsigned, errors.New("the PipelineRun has no TaskRuns")})) {
		return false
	}
	return f.yield(Subject{Place: r.place, PipelineRun: r})
}

// notesOn returns notes for readers of the PipelineRun's outcome.
func notesOn(place string, pr *v1.PipelineRun) []string {
	spec := pr.Status.PipelineSpec
	if spec == nil {
		return nil
	}
	var notes []string
	for _, task := range pipelines.Tasks(spec) {
		if task.OnError == v1.PipelineTaskContinue {
			notes = append(notes, fmt.Sprintf("%s: the task %s has onError: continue: "+
				"the PipelineRun can be Succeeded although its TaskRun failed", place, task.Name))
		}
	}
	return notes
}

// owned returns, by name, the TaskRuns with the PipelineRun's label that have it as an owner.
func (f *childReader) owned(ctx context.Context, pr *v1.PipelineRun) (map[string]*unstructured.Unstructured, error) {
	owned := map[string]*unstructured.Unstructured{}
	if len(validation.IsValidLabelValue(pr.Name)) > 0 {
		return owned, nil // such a name does not fit into a label
	}
	options := metav1.ListOptions{LabelSelector: pipeline.PipelineRunLabelKey + "=" + pr.Name, Limit: pageSize}
	for {
		list, err := f.client.Resource(Resource(TaskRuns)).Namespace(pr.Namespace).List(ctx, options)
		if err != nil {
			return owned, err
		}
		for i := range list.Items {
			if pipelines.Claims(pr.UID, &list.Items[i]) {
				owned[list.Items[i].GetName()] = &list.Items[i]
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return owned, nil
		}
	}
}

// child yields a child that the PipelineRun refers to. For a child that is not a TaskRun and does not run any, it
// yields a note.
func (f *childReader) child(
	ctx context.Context, r *PipelineRun, reference v1.ChildStatusReference, owned map[string]*unstructured.Unstructured,
	depth int,
) (m member, more bool) {
	m.child = pipelines.Child{Kind: reference.Kind, Name: reference.Name, PipelineTask: reference.PipelineTaskName}
	where := fmt.Sprintf("%s, %s %s", r.place, strings.ToLower(reference.Kind), reference.Name)
	resource, known := resourceOfKind(reference.Kind)
	custom := reference.Kind == pipelines.KindCustomRun
	switch {
	case !known || custom && !f.allowCustomRuns:
		m.child.Missing = "only TaskRuns carry evidence"
		return m, f.yield(Subject{Note: where + ": only TaskRuns carry evidence"})
	case depth == maxNested:
		return f.missing(m, where, &Problem{verify.Indeterminate, fmt.Errorf("PipelineRuns are nested deeper than %d",
			maxNested)})
	}
	found := owned[reference.Name]
	if found == nil || reference.Kind != pipelines.KindTaskRun {
		var err error
		if found, err = f.client.Resource(resource).Namespace(r.pipelineRun.Namespace).Get(ctx, reference.Name,
			metav1.GetOptions{}); err != nil {
			return f.missing(m, where, f.unread(err))
		}
	}
	if !pipelines.Controls(r.pipelineRun.UID, found) {
		return f.foreign(m, where, r, found)
	}
	return f.own(ctx, m, where, found, depth)
}

func (f *childReader) unread(err error) error {
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("the PipelineRun ran it, but it is gone: verify an archived copy with -f FILE: %w", err)
	}
	return f.explain(err)
}

func (f *childReader) missing(m member, where string, err error) (member, bool) {
	m.child.Missing = err.Error()
	return m, f.yield(*failing(where, err))
}

// foreign yields an error for an object of another owner, because its verdict does not concern the PipelineRun.
func (f *childReader) foreign(m member, where string, r *PipelineRun, found *unstructured.Unstructured) (member, bool) {
	if err := m.take(found); err != nil {
		return f.missing(m, where, err)
	}
	return m, f.yield(*failing(where, &Problem{verify.Failed, fmt.Errorf(
		"expected one that is controlled by the PipelineRun, UID %s, got one that is controlled by %s",
		r.pipelineRun.UID, pipelines.Controller(found))}))
}

// own yields a child that belongs to the PipelineRun.
func (f *childReader) own(ctx context.Context, m member, where string, found *unstructured.Unstructured,
	depth int) (member, bool) {
	switch m.child.Kind {
	case pipelines.KindTaskRun:
		m.subject = handOut(found)
		m.subject.shared = &shared{}
		m.running = !isCompleted(found)
		return m, f.yield(m.subject)
	case pipelines.KindCustomRun:
		if err := m.take(found); err != nil {
			return f.missing(m, where, err)
		}
		return m, true
	}
	data, err := found.MarshalJSON()
	if err != nil {
		return f.missing(m, where, err)
	}
	nested, more := f.of(ctx, fmt.Sprintf("pipelinerun %s/%s", found.GetNamespace(), found.GetName()), data, depth+1)
	if nested == nil {
		m.child.Missing = "it cannot be read"
		return m, more
	}
	m.nested, m.child.PipelineRun, m.running = nested, &nested.pipelineRun, nested.Waits()
	return m, more
}

func isCompleted(object *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(entry any) bool {
		c, _ := entry.(map[string]any)
		return c["type"] == string(apis.ConditionSucceeded) && (c["status"] == "True" || c["status"] == "False")
	})
}

func handOut(tr *unstructured.Unstructured) Subject {
	place := fmt.Sprintf("taskrun %s/%s", tr.GetNamespace(), tr.GetName())
	data, err := tr.MarshalJSON()
	if err != nil {
		return *failing(place, err)
	}
	return liveSubject(place, data)
}
