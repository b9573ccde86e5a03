// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
)

// pageSize is how many objects each request lists.
const pageSize = 200

// nameThem is the next step in errors about arguments.
const nameThem = "name TaskRuns as taskrun/NAME, or a PipelineRun as pipelinerun/NAME"

// errStopped ends a visit that need not go on.
var errStopped = errors.New("stopped")

// object is what kubectl's builder returns for every kind.
type object interface {
	MarshalJSON() ([]byte, error)
}

// FromCluster returns the TaskRuns named by kubectl's arguments, those that match a selector, or all. A PipelineRun
// comes after its TaskRuns.
func (s Selection) FromCluster(ctx context.Context, c Cluster) iter.Seq[Subject] {
	return func(yield func(Subject) bool) {
		fail := func(err error) bool { return yield(*failing("", err)) }
		namespace, objects, err := s.find(c)
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
			if !s.oneOf(ctx, c, info, yield) {
				stopped = true
				return errStopped
			}
			return nil
		})
		for _, err := range s.explainEach(c, err, namespace) {
			if stopped || ctx.Err() != nil || !fail(err) {
				return
			}
		}
	}
}

// Visit calls do with each object of kubectl's arguments, until do returns false. It lists page by page.
func (s Selection) Visit(ctx context.Context, c Cluster, do func(kind string, data []byte) bool) []error {
	namespace, objects, err := s.find(c)
	if err != nil {
		return []error{err}
	}
	err = objects.Visit(func(info *resource.Info, err error) error {
		if err != nil {
			return err
		}
		data, err := marshal(info.Object)
		if err != nil {
			return err
		}
		if ctx.Err() != nil || !do(info.Object.GetObjectKind().GroupVersionKind().Kind, data) {
			return errStopped
		}
		return nil
	})
	return s.explainEach(c, err, namespace)
}

// find asks kubectl's builder for the objects of the arguments.
func (s Selection) find(c Cluster) (namespace string, _ *resource.Result, err error) {
	if _, err := c.Connect(); err != nil {
		return "", nil, err
	}
	namespace, _, err = c.Config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", nil, c.Explain(err)
	}
	args := s.Args
	if len(args) == 0 {
		args = []string{"taskruns.tekton.dev"}
	}
	builder := resource.NewBuilder(c.Config).Unstructured().NamespaceParam(namespace).DefaultNamespace().
		AllNamespaces(s.AllNamespaces).RequestChunksOf(pageSize)
	if s.Selector != "" {
		builder = builder.LabelSelectorParam(s.Selector)
	}
	objects := builder.ResourceTypeOrNameArgs(true, args...).ContinueOnError().Latest().Flatten().Do()
	if err := objects.Err(); err != nil && !kubeclient.IsClusterError(err) {
		return "", nil, fmt.Errorf("%w: %s", err, nameThem)
	}
	return namespace, objects, nil
}

// oneOf yields a TaskRun, or the TaskRuns of a PipelineRun. It reports whether to go on.
func (s Selection) oneOf(ctx context.Context, c Cluster, info *resource.Info, yield func(Subject) bool) bool {
	kind := info.Object.GetObjectKind().GroupVersionKind()
	place := fmt.Sprintf("%s %s/%s", strings.ToLower(kind.Kind), info.Namespace, info.Name)
	data, err := marshal(info.Object)
	switch {
	case err != nil:
		return yield(*failing(place, err))
	case kind.Group == "tekton.dev" && kind.Kind == "TaskRun":
		return yield(liveSubject(place, data))
	case kind.Group == "tekton.dev" && kind.Kind == "PipelineRun":
		return s.taskRunsOf(ctx, c, place, data, yield)
	}
	return yield(*failing("", fmt.Errorf("expected a TaskRun or a PipelineRun, got %s %q: %s", kind.Kind, info.Name,
		nameThem)))
}

func marshal(o any) ([]byte, error) {
	m, ok := o.(object)
	if !ok {
		return nil, fmt.Errorf("unexpected type %T", o)
	}
	return m.MarshalJSON()
}

// liveSubject decodes an object as strictly as one from a file.
func liveSubject(place string, data []byte) Subject {
	return Subject{Place: place, live: true, Read: func() (*v1.TaskRun, error) { return source.Decode(data) }}
}

// explainEach splits the errors of a visit, and adds an exit code and a next step to each.
func (s Selection) explainEach(c Cluster, err error, namespace string) []error {
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
		if apierrors.IsNotFound(err) && !s.AllNamespaces {
			err = fmt.Errorf("%w in namespace %q: see kubectl get %s -n %s", err, namespace, kindOf(err), namespace)
		}
		errs = append(errs, c.Explain(err))
	}
	return errs
}

// kindOf returns kubectl's name for the kind of object that was not found.
func kindOf(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		if kind := status.Status().Details.Kind; slices.Contains([]string{PipelineRuns, Tasks, Pipelines}, kind) {
			return kind
		}
	}
	return TaskRuns
}

// The resources of Tekton.
const (
	TaskRuns     = "taskruns"
	PipelineRuns = "pipelineruns"
	Tasks        = "tasks"
	Pipelines    = "pipelines"
)
