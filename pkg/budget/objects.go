// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	"knative.dev/pkg/kmeta"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
)

// Caps of what is read.
const (
	maxObject    = 8 << 20 // bytes of one object
	maxReferents = 512     // Tasks and StepActions to which others refer, and which are kept
	maxKept      = 64 << 20
	maxPipeline  = 1000 // tasks of one Pipeline
)

// Finder finds the objects to which others refer by name. An error is the reason why one cannot be read.
type Finder interface {
	Find(ctx context.Context, kind, namespace, name string) ([]byte, error)
}

// Reader turns objects into subjects.
type Reader struct {
	finder Finder
	bytes  int // of what is kept
	tasks  map[string]resolved
	steps  map[string]action
}

// resolved is a Task to which others refer, or why it is not known.
type resolved struct {
	spec       v1.TaskSpec
	unresolved string
}

// action is a StepAction to which others refer, or why it is not known.
type action struct {
	spec v1beta1.StepActionSpec
	err  error
}

// NewReader returns a reader that looks up references with finder.
func NewReader(finder Finder) *Reader {
	return &Reader{finder: finder, tasks: map[string]resolved{}, steps: map[string]action{}}
}

// find looks up an object. It reports whether there is room to keep it.
func (r *Reader) find(ctx context.Context, kind, namespace, name string) (data []byte, keep bool, err error) {
	data, err = r.finder.Find(ctx, kind, namespace, name)
	if err == nil && len(data) > maxObject {
		data, err = nil, errTooLarge
	}
	keep = len(r.tasks)+len(r.steps) < maxReferents && r.bytes+len(data) <= maxKept
	if keep {
		r.bytes += len(data)
	}
	return data, keep, err
}

// task returns a Task with its steps resolved, which is read once.
func (r *Reader) task(ctx context.Context, namespace, name string) resolved {
	key := namespace + "/" + name
	if known, ok := r.tasks[key]; ok {
		return known
	}
	data, keep, err := r.find(ctx, KindTask, namespace, name)
	found := resolved{}
	if err == nil {
		found, err = r.decode(ctx, namespace, data)
	}
	if err != nil {
		found = resolved{unresolved: fmt.Sprintf("Task %s cannot be read: %v", name, err)}
	}
	if keep {
		r.tasks[key] = found
	}
	return found
}

// decode reads a Task to which others refer.
func (r *Reader) decode(ctx context.Context, namespace string, data []byte) (resolved, error) {
	h, err := HeadOf(data)
	if err != nil {
		return resolved{}, err
	}
	s := Subject{Namespace: namespace}
	if s.Spec, err = taskSpecOf(ctx, h, data); err != nil {
		return resolved{}, err
	}
	r.resolveSteps(ctx, &s)
	return resolved{s.Spec, s.Unresolved}, nil
}

// action returns a StepAction, which is read once.
func (r *Reader) action(ctx context.Context, namespace, name string) (v1beta1.StepActionSpec, error) {
	key := namespace + "/" + name
	if known, ok := r.steps[key]; ok {
		return known.spec, known.err
	}
	data, keep, err := r.find(ctx, KindStepAction, namespace, name)
	var found v1beta1.StepAction
	if err == nil {
		err = strictjson.DecodeOpen(data, &found)
	}
	if err != nil {
		err = fmt.Errorf("StepAction %s cannot be read: %w", name, err)
	}
	if keep {
		r.steps[key] = action{found.Spec, err}
	}
	return found.Spec, err
}

// Head identifies an object.
type Head struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name         string `json:"name"`
		GenerateName string `json:"generateName"`
		Namespace    string `json:"namespace"`
	} `json:"metadata"`
}

// IsTekton reports whether the kind is one of Tekton's.
func (h Head) IsTekton() bool {
	group, _, _ := strings.Cut(h.APIVersion, "/")
	return group == "tekton.dev"
}

var errTooLarge = fmt.Errorf("expected an object of at most %d MiB", maxObject>>20)

// HeadOf reads what identifies an object.
func HeadOf(data []byte) (Head, error) {
	var h Head
	if len(data) > maxObject {
		return h, errTooLarge
	}
	if err := strictjson.DecodeOpen(data, &h); err != nil {
		return h, fmt.Errorf("expected a Kubernetes object: %w", err)
	}
	h.Metadata.Name = cmp.Or(h.Metadata.Name, h.Metadata.GenerateName)
	return h, nil
}

// Subjects returns the subjects of a Task or a Pipeline in JSON.
func (r *Reader) Subjects(ctx context.Context, data []byte, place string) ([]*Subject, error) {
	h, err := HeadOf(data)
	if err != nil {
		return nil, err
	}
	s := Subject{Kind: h.Kind, Namespace: h.Metadata.Namespace, Name: h.Metadata.Name, Place: place}
	switch {
	case h.IsTekton() && h.Kind == KindTask:
		spec, err := taskSpecOf(ctx, h, data)
		if err != nil {
			return nil, err
		}
		s.run(runName(s.Name))
		s.Spec = spec
		r.resolveSteps(ctx, &s)
		return []*Subject{&s}, nil
	case h.IsTekton() && h.Kind == KindPipeline:
		return r.pipeline(ctx, h, data, s)
	}
	return nil, fmt.Errorf("expected a Task, a Pipeline or a TaskRun of tekton.dev, got kind %s of %s", h.Kind,
		h.APIVersion)
}

// run names the TaskRun.
func (s *Subject) run(name string) { s.TaskRun, s.Pod = name, podName(name) }

// taskSpecOf decodes a Task.
func taskSpecOf(ctx context.Context, h Head, data []byte) (v1.TaskSpec, error) {
	var task v1.Task
	if strings.HasSuffix(h.APIVersion, "/v1beta1") {
		var old v1beta1.Task //nolint:staticcheck // files may have this version
		if err := strictjson.DecodeOpen(data, &old); err != nil {
			return v1.TaskSpec{}, err
		}
		if err := old.ConvertTo(ctx, &task); err != nil {
			return v1.TaskSpec{}, fmt.Errorf("converting from %s: %w", h.APIVersion, err)
		}
		return task.Spec, nil
	}
	err := strictjson.DecodeOpen(data, &task)
	return task.Spec, err
}

func pipelineSpecOf(ctx context.Context, h Head, data []byte) (v1.PipelineSpec, error) {
	var pipeline v1.Pipeline
	if strings.HasSuffix(h.APIVersion, "/v1beta1") {
		var old v1beta1.Pipeline //nolint:staticcheck // files may have this version
		if err := strictjson.DecodeOpen(data, &old); err != nil {
			return v1.PipelineSpec{}, err
		}
		if err := old.ConvertTo(ctx, &pipeline); err != nil {
			return v1.PipelineSpec{}, fmt.Errorf("converting from %s: %w", h.APIVersion, err)
		}
		return pipeline.Spec, nil
	}
	err := strictjson.DecodeOpen(data, &pipeline)
	return pipeline.Spec, err
}

// pipeline returns the subjects of a Pipeline: its tasks.
func (r *Reader) pipeline(ctx context.Context, h Head, data []byte, s Subject) ([]*Subject, error) {
	spec, err := pipelineSpecOf(ctx, h, data)
	if err != nil {
		return nil, err
	}
	tasks := slices.Concat(spec.Tasks, spec.Finally)
	if len(tasks) > maxPipeline {
		return nil, fmt.Errorf("expected at most %d tasks in a Pipeline, got %d", maxPipeline, len(tasks))
	}
	if len(tasks) == 0 {
		s.Unresolved = "the Pipeline has no tasks"
		return []*Subject{&s}, nil
	}
	var all []*Subject
	for i := range tasks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		one := s
		one.PipelineTask = tasks[i].Name
		one.run(kmeta.ChildName(runName(s.Name), "-"+tasks[i].Name))
		r.pipelineTask(ctx, &one, &tasks[i])
		all = append(all, &one)
	}
	return all, nil
}

// pipelineTask resolves one task of a Pipeline.
func (r *Reader) pipelineTask(ctx context.Context, s *Subject, t *v1.PipelineTask) {
	if t.Matrix != nil {
		s.Note = "it has a matrix: each of its TaskRuns is like this one, with other values"
	}
	switch {
	case t.PipelineRef != nil || t.PipelineSpec != nil:
		s.Unresolved = "it is a child Pipeline: name that one"
	case t.TaskSpec != nil && t.TaskSpec.Spec.Raw != nil, t.TaskRef != nil && isCustom(t.TaskRef):
		s.Unresolved = "it is a custom task, which has no pod of Tekton"
	case t.TaskSpec != nil:
		s.Spec = t.TaskSpec.TaskSpec
		r.resolveSteps(ctx, s)
	case t.TaskRef == nil:
		s.Unresolved = "it refers to no Task"
	case t.TaskRef.Resolver != "":
		s.Unresolved = fmt.Sprintf("its Task comes from the resolver %s, which is not asked here: name a TaskRun of it",
			t.TaskRef.Resolver)
	default:
		r.reference(ctx, s, t.TaskRef.Name)
	}
}

func isCustom(ref *v1.TaskRef) bool {
	return ref.APIVersion != "" && !strings.HasPrefix(ref.APIVersion, "tekton.dev/") ||
		ref.Kind != "" && ref.Kind != v1.NamespacedTaskKind
}

// reference resolves a Task by its name.
func (r *Reader) reference(ctx context.Context, s *Subject, name string) {
	if strings.Contains(name, "$(") {
		s.Unresolved = "the name of its Task is a parameter: name a TaskRun of it"
		return
	}
	found := r.task(ctx, s.Namespace, name)
	s.Spec, s.Unresolved = found.spec, found.unresolved
}

// resolveSteps fills steps that refer to StepActions. Of a Task that is too large to simulate, nothing is kept.
func (r *Reader) resolveSteps(ctx context.Context, s *Subject) {
	if s.limit(); s.Unresolved != "" {
		s.Spec = v1.TaskSpec{}
		return
	}
	if !slices.ContainsFunc(s.Spec.Steps, func(s v1.Step) bool { return s.Ref != nil }) {
		return
	}
	s.Spec.Steps = slices.Clone(s.Spec.Steps)
	for i := range s.Spec.Steps {
		if s.Spec.Steps[i].Ref == nil {
			continue
		}
		if err := r.resolveStep(ctx, s.Namespace, &s.Spec.Steps[i]); err != nil {
			s.Unresolved = fmt.Sprintf("step %d: %v", i+1, err)
			return
		}
	}
}

var errParameter = errors.New("the name of its StepAction is a parameter")

func (r *Reader) resolveStep(ctx context.Context, namespace string, s *v1.Step) error {
	switch {
	case s.Ref.Resolver != "":
		return fmt.Errorf("its StepAction comes from the resolver %s, which is not asked here: name a TaskRun of it",
			s.Ref.Resolver)
	case strings.Contains(s.Ref.Name, "$("):
		return errParameter
	}
	action, err := r.action(ctx, namespace, s.Ref.Name)
	if err != nil {
		return err
	}
	s.Script, s.Command = action.Script, action.Command
	s.WorkingDir = cmp.Or(s.WorkingDir, action.WorkingDir)
	s.Results = action.Results
	return nil
}
