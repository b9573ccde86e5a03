// SPDX-License-Identifier: Apache-2.0

// Package read gives the Tasks, Pipelines and TaskRuns of a cluster or of files to the simulator, one at a time.
package read

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/budget"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
)

// maxDefinitions bounds the bytes of the Tasks, Pipelines and StepActions of files, which are kept until all files are
// read, because they refer to each other.
const maxDefinitions = 16 << 20

// Sink gets the subjects, one at a time, and what could not be read. It returns whether to go on.
type Sink func(s *budget.Subject, err error) bool

// errNoCluster is why references are not looked up in a cluster.
var errNoCluster = errors.New("it is not in the files")

// errTwice is why a reference cannot be looked up in files. Which one the cluster gets last is not known.
var errTwice = errors.New("the files have more than one of this name")

// definitions are the objects of files to which others refer.
type definitions struct {
	byName map[string][]byte // nil: there are several
	order  []definition
	bytes  int
}

type definition struct {
	place string
	data  []byte
}

// Find implements Finder.
func (d *definitions) Find(_ context.Context, kind, namespace, name string) ([]byte, error) {
	data, ok := d.byName[kind+"/"+namespace+"/"+name]
	switch {
	case !ok:
		return nil, errNoCluster
	case data == nil:
		return nil, errTwice
	}
	return data, nil
}

// add keeps an object.
func (d *definitions) add(h budget.Head, place string, data []byte) error {
	one := definition{place, data}
	if d.bytes += len(data); d.bytes > maxDefinitions {
		return fmt.Errorf("expected at most %d MiB of Tasks, Pipelines and StepActions: split the input", maxDefinitions>>20)
	}
	key := h.Kind + "/" + h.Metadata.Namespace + "/" + h.Metadata.Name
	if _, known := d.byName[key]; known {
		data = nil
	}
	d.byName[key] = data
	if h.Kind != budget.KindStepAction {
		d.order = append(d.order, one)
	}
	return nil
}

// FromFiles gives the objects of files to sink: TaskRuns while it reads, and the others at the end.
func FromFiles(ctx context.Context, selected runs.Selection, stdin io.Reader, sink Sink) {
	d := &definitions{byName: map[string][]byte{}}
	for subject := range selected.FromFiles(stdin) {
		if ctx.Err() != nil {
			return
		}
		tr, err := d.read(subject)
		switch {
		case err != nil && !sink(nil, fmt.Errorf("%s%w", subject.Prefix(), err)):
			return
		case tr != nil && !sink(budget.OfTaskRun(tr, subject.Place), nil):
			return
		}
	}
	reader := budget.NewReader(d)
	for _, one := range d.order {
		if ctx.Err() != nil {
			return
		}
		subjects, err := reader.Subjects(ctx, one.data, one.place)
		if err != nil && !sink(nil, fmt.Errorf("%s: %w", one.place, err)) {
			return
		}
		for _, s := range subjects {
			if !sink(s, nil) {
				return
			}
		}
	}
}

// read returns the TaskRun that a subject is, or keeps what else it is.
func (d *definitions) read(s runs.Subject) (*v1.TaskRun, error) {
	if s.Note != "" {
		return nil, nil
	}
	if s.JSON == nil {
		return s.Read()
	}
	data, err := s.JSON()
	if err != nil {
		return nil, err
	}
	if data == nil {
		return s.Read()
	}
	h, err := budget.HeadOf(data)
	switch {
	case err != nil:
		return nil, err
	case h.IsTekton() && slices.Contains(kinds(), h.Kind):
		return nil, d.add(h, s.Place, data)
	case h.IsTekton() && h.Kind == budget.KindTaskRun:
		return s.Read()
	}
	return nil, fmt.Errorf("expected a Task, a Pipeline, a StepAction or a TaskRun of tekton.dev, got kind %s of %s",
		h.Kind, h.APIVersion)
}

// kinds are the kinds to which others refer, and those that refer to them.
func kinds() []string { return []string{budget.KindTask, budget.KindPipeline, budget.KindStepAction} }

// Source is what FromCluster needs of a cluster.
type Source struct {
	Cluster runs.Cluster
	Finder  budget.Finder
	Pod     func(ctx context.Context, namespace, name string) Pod // of a TaskRun; the zero value if it is gone
	Recent  int                                                   // how many TaskRuns, if no argument names any
}

// Pod is what a TaskRun's pod shows.
type Pod struct {
	Node       string
	Containers int // without the signer's and those of debugging, and without the one that reads results
}

// FromCluster gives the objects of kubectl's arguments to sink. Without arguments, those are all Tasks, all Pipelines
// and the newest TaskRuns.
func FromCluster(ctx context.Context, selected runs.Selection, live Source, sink Sink) {
	reader := budget.NewReader(live.Finder)
	newest := &recent{}
	all := len(selected.Args) == 0
	if all {
		selected.Args = []string{"tasks.tekton.dev,pipelines.tekton.dev"}
	}
	visit := func(kind string, data []byte) bool {
		if kind != budget.KindTaskRun {
			return give(ctx, reader, data, sink)
		}
		tr, err := source.Decode(data)
		if err != nil {
			return sink(nil, err)
		}
		if all {
			newest.add(tr, live.Recent)
			return true
		}
		return sink(live.taskRun(ctx, tr), nil)
	}
	errs := selected.Visit(ctx, live.Cluster, visit)
	if all && live.Recent > 0 {
		selected.Args = []string{"taskruns.tekton.dev"}
		errs = append(errs, selected.Visit(ctx, live.Cluster, visit)...)
	}
	for _, tr := range newest.ordered() {
		if !sink(live.taskRun(ctx, tr), nil) {
			return
		}
	}
	for _, err := range errs {
		if !sink(nil, err) {
			return
		}
	}
}

func give(ctx context.Context, reader *budget.Reader, data []byte, sink Sink) bool {
	subjects, err := reader.Subjects(ctx, data, "")
	if err != nil {
		return sink(nil, err)
	}
	for _, s := range subjects {
		if !sink(s, nil) {
			return false
		}
	}
	return true
}

// taskRun returns the subject that a TaskRun is, with what its pod shows.
func (l Source) taskRun(ctx context.Context, tr *v1.TaskRun) *budget.Subject {
	s := budget.OfTaskRun(tr, "")
	if l.Pod == nil || tr.Status.PodName == "" {
		return s
	}
	pod := l.Pod(ctx, tr.Namespace, tr.Status.PodName)
	s.Node = pod.Node
	s.Count(pod.Containers)
	return s
}

// recent keeps the newest TaskRuns.
type recent []*v1.TaskRun

// Len implements heap.Interface.
func (r recent) Len() int { return len(r) }

// Less implements heap.Interface: the oldest comes first.
func (r recent) Less(i, j int) bool { return created(r[i]).Before(created(r[j])) }

// Swap implements heap.Interface.
func (r recent) Swap(i, j int) { r[i], r[j] = r[j], r[i] }

// Push implements heap.Interface.
func (r *recent) Push(x any) { *r = append(*r, x.(*v1.TaskRun)) }

// Pop implements heap.Interface.
func (r *recent) Pop() any {
	last := len(*r) - 1
	tr := (*r)[last]
	*r = (*r)[:last]
	return tr
}

func created(tr *v1.TaskRun) time.Time { return tr.CreationTimestamp.Time }

// add keeps a TaskRun if it is among the newest n. It drops what is not needed of it.
func (r *recent) add(tr *v1.TaskRun, n int) {
	tr.ManagedFields, tr.Status.RetriesStatus = nil, nil
	heap.Push(r, tr)
	if r.Len() > n {
		heap.Pop(r)
	}
}

// ordered returns the TaskRuns, the newest first.
func (r *recent) ordered() []*v1.TaskRun {
	all := make([]*v1.TaskRun, r.Len())
	for i := len(all) - 1; i >= 0; i-- {
		all[i] = heap.Pop(r).(*v1.TaskRun)
	}
	return all
}
