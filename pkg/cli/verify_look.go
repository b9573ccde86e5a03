// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
)

// subject is something to verify. It is read when its turn has come, by one of many workers.
type subject struct {
	place string // file and position, or what was asked for; empty if there is nothing to tell apart
	live  bool   // the API server handed it out
	read  func() (*v1.TaskRun, error)
	note  string // something to say instead

	running bool // the note is about something that may still bring more

	seen        *seen // of a child of a PipelineRun, nil otherwise
	pipelineRun *run  // the subject is a PipelineRun, whose children were handed out before
}

// finding is what came of a subject.
type finding struct {
	place string
	item  *report.Item
	err   error
	note  string

	pipelineRun *report.PipelineRun
}

// looker verifies subjects. It is safe for concurrent use.
type looker struct {
	verifier      *verify.Verifier
	kube          kubeclient.Interface // nil where no cluster is asked
	requireSigned bool
}

// look reads and verifies one subject, once.
func (l *looker) look(ctx context.Context, s subject) finding {
	if s.seen == nil {
		return l.lookNow(ctx, s)
	}
	s.seen.once.Do(func() { s.seen.finding = l.lookNow(ctx, s) })
	return s.seen.finding
}

// lookNow reads and verifies one subject. Whatever happens is of this subject alone.
func (l *looker) lookNow(ctx context.Context, s subject) (f finding) {
	defer func() {
		if r := recover(); r != nil {
			f = finding{place: s.place, err: fmt.Errorf("%sinternal error: %v: please report it", prefix(s.place), r)}
		}
	}()
	if s.note != "" {
		return finding{note: s.note}
	}
	if s.pipelineRun != nil {
		return finding{place: s.place, pipelineRun: s.pipelineRun.judge(ctx, l)}
	}
	tr, err := s.read()
	var omitted *source.Omitted
	switch {
	case errors.As(err, &omitted):
		return finding{note: omitted.What}
	case err != nil:
		return finding{place: s.place, err: fmt.Errorf("%s%w", prefix(s.place), err)}
	}
	if s.seen != nil {
		s.seen.taskRun = tr
	}
	budget := verify.NewBudget()
	item := &report.Item{Result: l.verify(ctx, tr, s.live, budget)}
	if !s.live {
		item.Source = s.place
	}
	l.attempts(ctx, tr, s.live, item, budget)
	return finding{place: s.place, item: item}
}

func prefix(place string) string {
	if place == "" {
		return ""
	}
	return place + ": "
}

// verify looks at the TaskRun's pod and verifies. --require-signed turns "nothing to sign" into "not signed".
func (l *looker) verify(ctx context.Context, tr *v1.TaskRun, live bool, budget *verify.Budget) verify.Result {
	facts := verify.Facts{Live: live, Budget: budget}
	if live {
		facts.Pod = lookAtPod(ctx, l.kube, tr)
	}
	r := l.verifier.TaskRun(ctx, tr, facts)
	if r.Verdict == verify.NoResults && l.requireSigned {
		r.Verdict, r.Reason = verify.Unsigned, string(verify.CheckCoverage)
		r.Message = "the TaskRun has no results, and --require-signed wants every TaskRun signed"
		r.Checks = append(r.Checks, verify.Check{
			ID: verify.CheckCoverage, Status: verify.Missing, Expected: "evidence of every step", Got: "evidence of no step", Message: r.Message,
		})
	}
	return r
}

// attempts verifies the earlier attempts of a TaskRun as far as they left anything that could be believed. Of one that has more than are
// looked at, none is: its own verdict says so.
func (l *looker) attempts(ctx context.Context, tr *v1.TaskRun, live bool, item *report.Item, budget *verify.Budget) {
	if verify.Attempts(tr) > verify.MaxAttempts {
		return
	}
	for n := range verify.Attempts(tr) {
		attempt, err := verify.Attempt(tr, n)
		if err != nil || verify.LeftNothing(attempt) {
			item.Caveats = append(item.Caveats, fmt.Sprintf("attempt %d left nothing: there was nothing of it to verify", n+1))
			continue
		}
		item.Attempts = append(item.Attempts, report.Attempt{Number: n + 1, Result: l.verify(ctx, attempt, live, budget)})
	}
}

// lookAtPod returns what the cluster says of the TaskRun's pod, nil if it does not say.
func lookAtPod(ctx context.Context, kube kubeclient.Interface, tr *v1.TaskRun) *verify.PodFacts {
	if tr.Status.PodName == "" {
		return nil
	}
	pod, err := kube.CoreV1().Pods(tr.Namespace).Get(ctx, tr.Status.PodName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &verify.PodFacts{}
	}
	if err != nil {
		return nil // not allowed to look: verification stands without
	}
	facts := verify.FactsOf(pod)
	grant, err := kube.RbacV1().RoleBindings(tr.Namespace).Get(ctx, manifests.TokenRequester, metav1.GetOptions{})
	if err == nil && pod.CreationTimestamp.Before(&grant.CreationTimestamp) {
		facts.Unfenced = true
	}
	return facts
}
