// SPDX-License-Identifier: Apache-2.0

package runs

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
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
)

// Verifier verifies subjects. It is safe for concurrent use.
type Verifier struct {
	Verifier      *verify.Verifier
	Kube          kubeclient.Interface // nil without a cluster
	RequireSigned bool                 // treat a TaskRun without results as unsigned
}

// Verify reads and verifies one subject. A TaskRun that is also a child of a PipelineRun is verified once.
func (v *Verifier) Verify(ctx context.Context, s Subject) Finding {
	if s.shared == nil {
		return v.verifyNow(ctx, s)
	}
	s.shared.once.Do(func() { s.shared.finding = v.verifyNow(ctx, s) })
	return s.shared.finding
}

// Live verifies a TaskRun in JSON as one of the cluster.
func (v *Verifier) Live(ctx context.Context, taskRun []byte) Finding {
	return v.Verify(ctx, liveSubject("", taskRun))
}

// verifyNow reads and verifies one subject. A panic becomes an error of this subject.
func (v *Verifier) verifyNow(ctx context.Context, s Subject) (f Finding) {
	defer func() {
		if r := recover(); r != nil {
			f = Finding{Place: s.Place, Err: fmt.Errorf("%sinternal error: %v: please report it", s.Prefix(), r)}
		}
	}()
	if s.Note != "" {
		return Finding{Note: s.Note}
	}
	if s.PipelineRun != nil {
		return Finding{Place: s.Place, PipelineRun: s.PipelineRun.judge(ctx, v)}
	}
	tr, err := s.Read()
	var omitted *source.Omitted
	switch {
	case errors.As(err, &omitted):
		return Finding{Note: omitted.What}
	case err != nil:
		return Finding{Place: s.Place, Err: fmt.Errorf("%s%w", s.Prefix(), err)}
	}
	if s.shared != nil {
		s.shared.taskRun = tr
	}
	budget := verify.NewBudget()
	item := &report.Item{Result: v.verify(ctx, tr, verify.Facts{Live: s.live, Budget: budget})}
	if !s.live {
		item.Source = s.Place
	}
	v.attempts(ctx, tr, s.live, item, budget)
	return Finding{Place: s.Place, Item: item}
}

// verify reads the TaskRun's pod and verifies. RequireSigned turns NO_RESULTS into UNSIGNED.
func (v *Verifier) verify(ctx context.Context, tr *v1.TaskRun, facts verify.Facts) verify.Result {
	if facts.Live {
		facts.Pod = podOf(ctx, v.Kube, tr)
	}
	r := v.Verifier.TaskRun(ctx, tr, facts)
	if r.Verdict == verify.NoResults && v.RequireSigned {
		r.Verdict, r.Reason = verify.Unsigned, string(verify.CheckCoverage)
		r.Message = "the TaskRun has no results, and --require-signed requires evidence of every TaskRun"
		r.Checks = append(r.Checks, verify.Check{
			ID: verify.CheckCoverage, Status: verify.Missing, Expected: "evidence of every step", Got: "evidence of no step",
			Message: r.Message,
		})
	}
	return r
}

// recordedAttempt returns what a valid record of a TaskRun contains about an attempt.
func recordedAttempt(item *report.Item, n int) *record.Attempt {
	if item.Record == nil || item.Verdict != verify.Verified {
		return nil
	}
	for i := range item.Record.Attempts {
		if item.Record.Attempts[i].Number == n {
			return &item.Record.Attempts[i]
		}
	}
	return nil
}

// attempts verifies the earlier attempts of a TaskRun that left something to verify. If there are too many, it
// verifies none, and the TaskRun's own verdict has a check for that.
func (v *Verifier) attempts(ctx context.Context, tr *v1.TaskRun, live bool, item *report.Item, budget *verify.Budget) {
	if verify.Attempts(tr) > verify.MaxAttempts {
		return
	}
	for n := range verify.Attempts(tr) {
		attempt, err := verify.Attempt(tr, n)
		if err != nil || verify.LeftNothing(attempt) {
			item.Caveats = append(item.Caveats, fmt.Sprintf("attempt %d left nothing to verify", n+1))
			continue
		}
		facts := verify.Facts{Live: live, Budget: budget, Attempt: recordedAttempt(item, n)}
		item.Attempts = append(item.Attempts, report.Attempt{Number: n + 1, Result: v.verify(ctx, attempt, facts)})
	}
}

// podOf returns the state of the TaskRun's pod in the cluster, or nil if it could not be read.
func podOf(ctx context.Context, kube kubeclient.Interface, tr *v1.TaskRun) *verify.PodFacts {
	if tr.Status.PodName == "" {
		return nil
	}
	pod, err := kube.CoreV1().Pods(tr.Namespace).Get(ctx, tr.Status.PodName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &verify.PodFacts{}
	}
	if err != nil {
		return nil // without permission, verification goes on without the pod
	}
	facts := verify.FactsOf(pod)
	grant, err := kube.RbacV1().RoleBindings(tr.Namespace).Get(ctx, manifests.TokenRequester, metav1.GetOptions{})
	if err == nil && pod.CreationTimestamp.Before(&grant.CreationTimestamp) {
		facts.Unfenced = true
	}
	return facts
}
