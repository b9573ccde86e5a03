// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"knative.dev/pkg/apis"
	"knative.dev/pkg/kmeta"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// run is the TaskRun that is verified, and what the caller knows about it. No stage changes it.
type run struct {
	tr     *v1.TaskRun
	facts  Facts
	budget *Budget
	now    time.Time
	skew   time.Duration
}

// newRun returns a run without facts from outside of the TaskRun. It has no clock.
func newRun(tr *v1.TaskRun) run { return run{tr: tr, budget: NewBudget()} }

// run returns the run for verifying tr now.
func (v *Verifier) run(tr *v1.TaskRun, facts Facts) run {
	r := run{tr: tr, facts: facts, budget: facts.Budget, now: v.now(), skew: v.skew}
	if r.budget == nil {
		r.budget = NewBudget()
	}
	return r
}

// against returns what the identity of a unit is judged against. If u is nil, it is for the identity of a
// record.
func (r run) against(u *unit) check.Run {
	status := &r.tr.Status
	out := check.Run{
		Namespace: r.tr.Namespace, Name: r.tr.Name, Account: r.account(), Pod: status.PodName,
		Created: r.tr.CreationTimestamp.Time, Now: r.now, Skew: r.skew,
		Live: r.facts.Live, PodGone: r.facts.Pod != nil && !r.facts.Pod.Found, Links: &r.budget.chainLinks,
	}
	if status.StartTime != nil {
		out.Started = status.StartTime.Time
	}
	if status.CompletionTime != nil {
		out.Completed = status.CompletionTime.Time
	}
	if u != nil {
		out.PodUID, out.Ended = u.podUID(), u.step.state.Terminated.FinishedAt.Time
	}
	return out
}

// account is the name of the TaskRun's service account.
func (r run) account() string { return cmp.Or(r.tr.Spec.ServiceAccountName, "default") }

// succeeded reports whether the condition Succeeded is True.
func (r run) succeeded() bool { return r.tr.Status.GetCondition(apis.ConditionSucceeded).IsTrue() }

// failureReason returns the reason of Succeeded=False. It is empty if the TaskRun succeeded.
func (r run) failureReason() string {
	if c := r.tr.Status.GetCondition(apis.ConditionSucceeded); c.IsFalse() {
		return c.Reason
	}
	return ""
}

// mayBeEmpty reports whether the TaskRun may show none of what its steps emitted.
func (r run) mayBeEmpty() bool {
	return slices.Contains(stoppedReasons, r.failureReason()) || r.emptied()
}

// emptied reports whether enforcement removed the results, by the reason of the failure.
func (r run) emptied() bool { return r.failureReason() == ReasonVerificationFailed }

// outcomeText shows the condition Succeeded.
func (r run) outcomeText() string {
	c := r.tr.Status.GetCondition(apis.ConditionSucceeded)
	if c == nil {
		return "no condition Succeeded"
	}
	return fmt.Sprintf("Succeeded=%s/%s", c.Status, c.Reason)
}

// failedByTekton reports whether the TaskRun failed for a reason that Tekton, or the add-on, gives to
// TaskRuns with steps. A made-up reason explains nothing.
func (r run) failedByTekton() bool {
	return slices.Contains(slices.Concat(podEndedReasons, brokenPodReasons, stoppedReasons), r.failureReason())
}

// exempt reports whether a step needs no evidence, because it was ended before it could sign. Only a TaskRun
// that failed has such steps.
func (r run) exempt(s *step) bool {
	reason := r.failureReason()
	if !r.failedByTekton() {
		return false
	}
	if s.ended {
		return true
	}
	if s.state.Terminated == nil {
		return !slices.Contains(podEndedReasons, reason)
	}
	killed := s.state.Terminated.Reason == "OOMKilled" || s.state.Terminated.Reason == "Evicted" ||
		reason == string(v1.TaskRunReasonPodEvicted)
	return killed && !s.broken && len(s.results) == 0
}

// declaresStepResults reports whether a step of the Task was meant to have results.
func (r run) declaresStepResults() bool {
	for _, spec := range []*v1.TaskSpec{r.tr.Spec.TaskSpec, r.tr.Status.TaskSpec} {
		if spec != nil && slices.ContainsFunc(spec.Steps, func(s v1.Step) bool { return len(s.Results) > 0 }) {
			return true
		}
	}
	return false
}

// podName returns Tekton's name for the pod of a TaskRun's current attempt. Long names are hashed.
func (r run) podName() string {
	suffix := "-pod"
	if n := len(r.tr.Status.RetriesStatus); n > 0 {
		suffix = fmt.Sprintf("-pod-retry%d", n)
	}
	return kmeta.ChildName(r.tr.Name, suffix)
}

// carriesRecord reports whether the TaskRun has a record, good or not.
func (r run) carriesRecord() bool {
	_, ok := r.tr.Status.Annotations[record.Annotation]
	return ok
}

// stepsOfEarlierAttempt reports whether the TaskRun ended between two attempts. Tekton then leaves the steps
// of the attempt that it already archived.
func (r run) stepsOfEarlierAttempt() bool {
	s := &r.tr.Status
	if s.PodName != "" || len(s.RetriesStatus) == 0 || len(s.Steps) == 0 {
		return false
	}
	return equality.Semantic.DeepEqual(s.Steps, s.RetriesStatus[len(s.RetriesStatus)-1].Steps)
}
