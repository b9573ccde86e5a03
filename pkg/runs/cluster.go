// SPDX-License-Identifier: Apache-2.0

package runs

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

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
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

// FromCluster returns the TaskRuns that were named as kubectl names objects, those with the labels, or all. A PipelineRun comes
// after its TaskRuns.
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

// find asks kubectl's builder for what was named.
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

// oneOf hands out a TaskRun, or the TaskRuns of a PipelineRun. It reports whether more are wanted.
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
	return yield(*failing("", fmt.Errorf("expected a TaskRun or a PipelineRun, got %s %q: %s", kind.Kind, info.Name, nameThem)))
}

func marshal(o any) ([]byte, error) {
	m, ok := o.(object)
	if !ok {
		return nil, fmt.Errorf("unexpected type %T", o)
	}
	return m.MarshalJSON()
}

// liveSubject takes an object apart as strictly as one from a file.
func liveSubject(place string, data []byte) Subject {
	return Subject{Place: place, live: true, Read: func() (*v1.TaskRun, error) { return source.Decode(data) }}
}

// explainEach takes the errors of a visit apart and gives each its exit code and next step.
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

// kindOf returns what kubectl calls the objects of which one was not found.
func kindOf(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == PipelineRuns {
		return PipelineRuns
	}
	return TaskRuns
}

// The resources of Tekton.
const (
	TaskRuns     = "taskruns"
	PipelineRuns = "pipelineruns"
)
