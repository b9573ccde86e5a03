// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"context"
	"fmt"
	"slices"
	"sync"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/pipelines"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// PipelineRun is a PipelineRun with what was found about its children. It is judged after them.
type PipelineRun struct {
	place           string
	pipelineRun     v1.PipelineRun
	members         []member
	strays          []metav1.Object
	allowCustomRuns bool
	unlisted        error // why other owned TaskRuns could not be listed

	once    sync.Once
	finding *report.PipelineRun
}

// member is a child that the PipelineRun refers to.
type member struct {
	child   pipelines.Child
	subject Subject      // of its own TaskRun
	nested  *PipelineRun // of its own child PipelineRun
	running bool
}

// take decodes an object without evidence.
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
func (r *PipelineRun) running() bool {
	return r.pipelineRun.Status.GetCondition(apis.ConditionSucceeded).IsUnknown()
}

// UID returns the UID of the object.
func (r *PipelineRun) UID() types.UID { return r.pipelineRun.UID }

// Waits reports whether a part of it is still running.
func (r *PipelineRun) Waits() bool {
	return r.running() || slices.ContainsFunc(r.members, func(m member) bool { return m.running })
}

// judge verifies the children that were not verified yet, and then judges the PipelineRun as a whole.
func (r *PipelineRun) judge(ctx context.Context, v *Verifier) *report.PipelineRun {
	r.once.Do(func() {
		f := pipelines.Tree{PipelineRun: &r.pipelineRun, Strays: r.strays, AllowCustomRuns: r.allowCustomRuns}
		for _, m := range r.members {
			f.Children = append(f.Children, m.verify(ctx, v))
		}
		r.finding = reportOf(f, r.withList(pipelines.Judge(f)))
	})
	return r.finding
}

// withList adds a check if other owned TaskRuns could not be listed.
func (r *PipelineRun) withList(j pipelines.Judgement) pipelines.Judgement {
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
func (m member) verify(ctx context.Context, v *Verifier) pipelines.Child {
	c := m.child
	switch {
	case m.nested != nil:
		nested := m.nested.judge(ctx, v)
		c.Verdict, c.Unrecorded = nested.Verdict, nested.Unrecorded
	case m.subject.Read != nil:
		f := v.Verify(ctx, m.subject)
		if f.Item == nil {
			c.Missing = "it could not be verified"
			break
		}
		c.Verdict, c.Unrecorded, c.TaskRun = f.Item.Verdict, f.Item.Unrecorded, m.subject.shared.taskRun
	}
	return c
}

func reportOf(f pipelines.Tree, j pipelines.Judgement) *report.PipelineRun {
	pr := f.PipelineRun
	out := &report.PipelineRun{
		PipelineRun: verify.Ref{Namespace: pr.Namespace, Name: pr.Name, UID: pr.UID},
		Verdict:     j.Verdict, Unrecorded: j.Unrecorded, Reason: j.Reason, Message: j.Message, Checks: j.Checks,
		Caveats: j.Caveats,
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
