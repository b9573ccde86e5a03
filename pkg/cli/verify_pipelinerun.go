// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
)

// maxNested is how deep PipelineRuns may run others.
const maxNested = 8

// labelPipelineRun is the label with which Tekton marks the TaskRuns of a PipelineRun.
const labelPipelineRun = "tekton.dev/pipelineRun"

func resourceOf(plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: plural}
}

// family finds the TaskRuns of a PipelineRun.
type family struct {
	client dynamic.Interface
	yield  func(subject) bool
}

// taskRunsOf hands out the TaskRuns of the PipelineRun in data. It reports whether more are wanted.
func (e *env) taskRunsOf(ctx context.Context, place string, data []byte, yield func(subject) bool) bool {
	config, err := e.restConfig()
	if err != nil {
		return yield(*failing(place, err))
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return yield(*failing(place, err))
	}
	return (&family{client: client, yield: yield}).of(ctx, place, data, 0)
}

// of hands out the TaskRuns that the PipelineRun refers to, in that order, then those that it owns and does not refer to.
func (f *family) of(ctx context.Context, place string, data []byte, depth int) bool {
	var pr v1.PipelineRun
	if err := strictjson.DecodeOpen(data, &pr); err != nil {
		return f.yield(*failing(place, withExit(ExitError, err)))
	}
	for _, note := range notesOn(place, &pr) {
		if !f.yield(subject{note: note}) {
			return false
		}
	}
	owned, err := f.owned(ctx, &pr)
	if err != nil && !f.yield(*failing(place, explainCluster(fmt.Errorf("listing its TaskRuns: %w", err)))) {
		return false
	}
	for _, child := range pr.Status.ChildReferences {
		tr := owned[child.Name]
		delete(owned, child.Name)
		if !f.child(ctx, place, &pr, child, tr, depth) {
			return false
		}
	}
	names := make([]string, 0, len(owned))
	for name := range owned {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !f.handOut(owned[name]) {
			return false
		}
	}
	if pr.Status.GetCondition(apis.ConditionSucceeded).IsUnknown() {
		return f.yield(subject{note: place + " is not completed: more TaskRuns may follow", running: true})
	}
	if len(pr.Status.ChildReferences)+len(names) == 0 && err == nil {
		return f.yield(*failing(place, withExit(ExitUnsigned, fmt.Errorf("the PipelineRun has no TaskRuns"))))
	}
	return true
}

// notesOn says what a reader of the PipelineRun's outcome must know.
func notesOn(place string, pr *v1.PipelineRun) []string {
	spec := pr.Status.PipelineSpec
	if spec == nil {
		return nil
	}
	var notes []string
	for _, task := range slices.Concat(spec.Tasks, spec.Finally) {
		if task.OnError == v1.PipelineTaskContinue {
			notes = append(notes, fmt.Sprintf("%s: the task %s has onError: continue: "+
				"the PipelineRun can be Succeeded although its TaskRun failed", place, task.Name))
		}
	}
	return notes
}

// owned returns the TaskRuns that bear the PipelineRun's label and are controlled by it, by name.
func (f *family) owned(ctx context.Context, pr *v1.PipelineRun) (map[string]*unstructured.Unstructured, error) {
	owned := map[string]*unstructured.Unstructured{}
	if len(validation.IsValidLabelValue(pr.Name)) > 0 {
		return owned, nil // no TaskRun can have the label
	}
	options := metav1.ListOptions{LabelSelector: labelPipelineRun + "=" + pr.Name, Limit: pageSize}
	for {
		list, err := f.client.Resource(resourceOf("taskruns")).Namespace(pr.Namespace).List(ctx, options)
		if err != nil {
			return owned, err
		}
		for i := range list.Items {
			if isOwned(&list.Items[i], pr) {
				owned[list.Items[i].GetName()] = &list.Items[i]
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return owned, nil
		}
	}
}

func isOwned(object metav1.Object, pr *v1.PipelineRun) bool {
	owner := metav1.GetControllerOf(object)
	return owner != nil && owner.UID == pr.UID
}

// child hands out what a PipelineRun refers to. Of what is no TaskRun and runs none it says so.
func (f *family) child(
	ctx context.Context, place string, pr *v1.PipelineRun, child v1.ChildStatusReference, found *unstructured.Unstructured, depth int,
) bool {
	plural := map[string]string{"TaskRun": "taskruns", "PipelineRun": "pipelineruns"}[child.Kind]
	where := fmt.Sprintf("%s, %s %s", place, strings.ToLower(child.Kind), child.Name)
	switch {
	case plural == "":
		return f.yield(subject{note: where + ": only TaskRuns carry evidence"})
	case depth == maxNested:
		return f.yield(*failing(where, withExit(ExitIndeterminate, fmt.Errorf("PipelineRuns are nested deeper than %d", maxNested))))
	}
	if found == nil {
		var err error
		found, err = f.client.Resource(resourceOf(plural)).Namespace(pr.Namespace).Get(ctx, child.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			err = fmt.Errorf("the PipelineRun ran it, and it is gone: verify an archived copy with -f FILE: %w", err)
		}
		if err != nil {
			return f.yield(*failing(where, explainCluster(err)))
		}
		if !isOwned(found, pr) {
			return f.yield(*failing(where, withExit(ExitIndeterminate, fmt.Errorf(
				"expected one that is controlled by the PipelineRun, UID %s, got another one of that name", pr.UID))))
		}
	}
	if child.Kind == "TaskRun" {
		return f.handOut(found)
	}
	data, err := found.MarshalJSON()
	if err != nil {
		return f.yield(*failing(where, err))
	}
	return f.of(ctx, fmt.Sprintf("pipelinerun %s/%s", pr.Namespace, child.Name), data, depth+1)
}

func (f *family) handOut(tr *unstructured.Unstructured) bool {
	place := fmt.Sprintf("taskrun %s/%s", tr.GetNamespace(), tr.GetName())
	data, err := tr.MarshalJSON()
	if err != nil {
		return f.yield(*failing(place, err))
	}
	return f.yield(liveSubject(place, data))
}
