// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
)

// pageSize is how many objects are asked for at once.
const pageSize = 200

// nameThem is the next step in errors about what was asked for.
const nameThem = "name TaskRuns as taskrun/NAME, or a PipelineRun as pipelinerun/NAME"

// errStopped ends a visit when nobody wants more.
var errStopped = errors.New("stopped")

// object is what kubectl's builder returns for every kind.
type object interface {
	MarshalJSON() ([]byte, error)
}

// fromCluster returns the TaskRuns that were named as kubectl names objects, those with the labels, or all. PipelineRuns
// stand for their TaskRuns.
func (o *verifyOptions) fromCluster(ctx context.Context, e *env, args []string) iter.Seq[subject] {
	return func(yield func(subject) bool) {
		fail := func(err error) bool { return yield(*failing("", err)) }
		namespace, objects, err := o.find(e, args)
		if err != nil {
			fail(err)
			return
		}
		stopped := false
		err = objects.Visit(func(info *resource.Info, err error) error {
			switch {
			case stopped || ctx.Err() != nil:
				return errStopped
			case err != nil:
				return err
			}
			if !o.oneOf(ctx, e, info, yield) {
				stopped = true
				return errStopped
			}
			return nil
		})
		for _, err := range o.explainEach(err, namespace) {
			if stopped || ctx.Err() != nil || !fail(err) {
				return
			}
		}
	}
}

// find asks kubectl's builder for what was named.
func (o *verifyOptions) find(e *env, args []string) (namespace string, _ *resource.Result, err error) {
	if _, err := e.restConfig(); err != nil {
		return "", nil, err
	}
	namespace, _, err = e.config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", nil, explainCluster(err)
	}
	if len(args) == 0 {
		args = []string{"taskruns.tekton.dev"}
	}
	builder := resource.NewBuilder(e.config).Unstructured().NamespaceParam(namespace).DefaultNamespace().
		AllNamespaces(o.allNamespaces).RequestChunksOf(pageSize)
	if o.selector != "" {
		builder = builder.LabelSelectorParam(o.selector)
	}
	objects := builder.ResourceTypeOrNameArgs(true, args...).ContinueOnError().Latest().Flatten().Do()
	if err := objects.Err(); err != nil && !isClusterError(err) {
		return "", nil, fmt.Errorf("%w: %s", err, nameThem)
	}
	return namespace, objects, nil
}

// oneOf hands out a TaskRun, or the TaskRuns of a PipelineRun. It reports whether more are wanted.
func (o *verifyOptions) oneOf(ctx context.Context, e *env, info *resource.Info, yield func(subject) bool) bool {
	kind := info.Object.GetObjectKind().GroupVersionKind()
	place := fmt.Sprintf("%s %s/%s", strings.ToLower(kind.Kind), info.Namespace, info.Name)
	data, err := marshal(info.Object)
	switch {
	case err != nil:
		return yield(*failing(place, err))
	case kind.Group == "tekton.dev" && kind.Kind == "TaskRun":
		return yield(liveSubject(place, data))
	case kind.Group == "tekton.dev" && kind.Kind == "PipelineRun":
		return o.taskRunsOf(ctx, e, place, data, yield)
	}
	return yield(*failing("", withExit(ExitError, fmt.Errorf("expected a TaskRun or a PipelineRun, got %s %q: %s",
		kind.Kind, info.Name, nameThem))))
}

func marshal(o any) ([]byte, error) {
	m, ok := o.(object)
	if !ok {
		return nil, fmt.Errorf("unexpected type %T", o)
	}
	return m.MarshalJSON()
}

// liveSubject takes an object apart as strictly as one from a file.
func liveSubject(place string, data []byte) subject {
	return subject{place: place, live: true, read: func() (*v1.TaskRun, error) { return source.Decode(data) }}
}

// explainEach takes the errors of a visit apart and gives each its exit code and next step.
func (o *verifyOptions) explainEach(err error, namespace string) []error {
	if err == nil {
		return nil
	}
	var aggregate utilerrors.Aggregate
	if !errors.As(err, &aggregate) {
		aggregate = utilerrors.NewAggregate([]error{err})
	}
	var errs []error
	for _, err := range utilerrors.Flatten(aggregate).Errors() {
		if errors.Is(err, errStopped) {
			continue
		}
		if apierrors.IsNotFound(err) && !o.allNamespaces {
			err = fmt.Errorf("%w in namespace %q: see kubectl get %s -n %s", err, namespace, kindOf(err), namespace)
		}
		errs = append(errs, explainCluster(err))
	}
	return errs
}

// kindOf returns what kubectl calls the objects of which one was not found.
func kindOf(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == pipelineRuns {
		return pipelineRuns
	}
	return "taskruns"
}

const pipelineRuns = "pipelineruns"

// What is shown in one piece is held in one piece, which takes many times the size of the input: so much of it is read.
const (
	maxAtOnce   = 16 << 20
	leastObject = 1 << 10 // what each is counted as
)

// taskRuns reads everything that was asked for at once. What cannot be read is an error beside the rest.
func (o *verifyOptions) taskRuns(ctx context.Context, e *env, args []string) ([]*v1.TaskRun, []error) {
	subjects := o.fromFiles(e.In)
	if len(args) > 0 {
		subjects = o.fromCluster(ctx, e, args)
	}
	var taskRuns []*v1.TaskRun
	var errs []error
	total := 0
	for s := range subjects {
		if s.note != "" || s.pipelineRun != nil {
			continue
		}
		if total += s.size + leastObject; total > maxAtOnce {
			return taskRuns, append(errs, fmt.Errorf("%sthe rest was not read: more than %d MiB at once: cut the input into pieces",
				prefix(s.place), maxAtOnce>>20))
		}
		tr, err := s.read()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%w", prefix(s.place), err))
			continue
		}
		taskRuns = append(taskRuns, tr)
	}
	return taskRuns, errs
}

func problemsOf(errs []error) []report.Problem {
	var problems []report.Problem
	for _, err := range errs {
		problems = append(problems, report.Problem{Message: err.Error()})
	}
	return problems
}
