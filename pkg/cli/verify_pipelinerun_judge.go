// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"sync"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/pipelines"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// run is a PipelineRun with what was found of its children. It is judged when they were verified.
type run struct {
	place           string
	pipelineRun     v1.PipelineRun
	members         []member
	strays          []metav1.Object
	allowCustomRuns bool
	unlisted        error // why it is not known who else claims to be a child

	once    sync.Once
	finding *report.PipelineRun
}

// member is a child that the PipelineRun refers to.
type member struct {
	child   pipelines.Child
	subject subject // of a TaskRun of its own
	nested  *run    // of a PipelineRun of its own
	running bool
}

// seen keeps what was found about a subject that is asked for twice: as itself, and as a child.
type seen struct {
	once    sync.Once
	finding finding
	taskRun *v1.TaskRun
}

// take decodes what no evidence is looked for in.
func (m *member) take(found *unstructured.Unstructured) error {
	data, err := found.MarshalJSON()
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	var into any
	switch m.child.Kind {
	case pipelines.KindTaskRun:
		m.child.TaskRun = &v1.TaskRun{}
		into = m.child.TaskRun
	case pipelines.KindPipelineRun:
		m.child.PipelineRun = &v1.PipelineRun{}
		into = m.child.PipelineRun
	default:
		m.child.CustomRun = &pipelines.CustomRun{}
		into = m.child.CustomRun
	}
	return strictjson.DecodeOpen(data, into)
}

// running reports whether the PipelineRun is not completed.
func (r *run) running() bool {
	return r.pipelineRun.Status.GetCondition(apis.ConditionSucceeded).IsUnknown()
}

// waits reports whether something of it is still running.
func (r *run) waits() bool {
	return r.running() || slices.ContainsFunc(r.members, func(m member) bool { return m.running })
}

// judge verifies the children, as far as nobody else has done so, and then looks at the PipelineRun as a whole.
func (r *run) judge(ctx context.Context, l *looker) *report.PipelineRun {
	r.once.Do(func() {
		f := pipelines.Family{PipelineRun: &r.pipelineRun, Strays: r.strays, AllowCustomRuns: r.allowCustomRuns}
		for _, m := range r.members {
			f.Children = append(f.Children, m.verify(ctx, l))
		}
		r.finding = reportOf(f, r.withList(pipelines.Judge(f)))
	})
	return r.finding
}

// withList adds that nobody knows who else claims to be a child, where that is so.
func (r *run) withList(j pipelines.Judgement) pipelines.Judgement {
	if r.unlisted == nil {
		return j
	}
	check := pipelines.Check{Check: verify.Check{
		ID: pipelines.CheckChildren, Status: verify.Unknown, Message: r.unlisted.Error(),
	}}
	j.Checks = append(j.Checks, check)
	if verify.Worse(j.Verdict, verify.Indeterminate) != j.Verdict {
		j.Verdict, j.Reason, j.Message = verify.Indeterminate, string(check.ID), check.Message
	}
	return j
}

// verify returns the child with its verdict.
func (m member) verify(ctx context.Context, l *looker) pipelines.Child {
	c := m.child
	switch {
	case m.nested != nil:
		nested := m.nested.judge(ctx, l)
		c.Verdict, c.Unrecorded = nested.Verdict, nested.Unrecorded
	case m.subject.read != nil:
		f := l.look(ctx, m.subject)
		if f.item == nil {
			c.Missing = "it could not be verified"
			break
		}
		c.Verdict, c.Unrecorded, c.TaskRun = f.item.Verdict, f.item.Unrecorded, m.subject.seen.taskRun
	}
	return c
}

func reportOf(f pipelines.Family, j pipelines.Judgement) *report.PipelineRun {
	pr := f.PipelineRun
	out := &report.PipelineRun{
		PipelineRun: verify.Ref{Namespace: pr.Namespace, Name: pr.Name, UID: pr.UID},
		Verdict:     j.Verdict, Unrecorded: j.Unrecorded, Reason: j.Reason, Message: j.Message, Checks: j.Checks, Caveats: j.Caveats,
	}
	if out.Checks == nil {
		out.Checks = []pipelines.Check{}
	}
	for _, c := range f.Children {
		out.Children = append(out.Children, report.PipelineRunChild{
			Kind: c.Kind, Name: c.Name, UID: c.UID(), PipelineTask: c.PipelineTask, Verdict: c.Verdict,
		})
	}
	return out
}
