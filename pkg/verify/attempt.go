// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"fmt"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Attempts returns how many attempts of tr Tekton has archived in status.retriesStatus. The current one is
// not among them.
func Attempts(tr *v1.TaskRun) int { return len(tr.Status.RetriesStatus) }

// Attempt returns the archived attempt n of tr, counted from 0, as a TaskRun of its own that can be verified:
// with the status that Tekton archived, and the attempts before it, from which the name of its pod follows.
// It returns an error if there is no such attempt. The TaskRun shares memory with tr: change neither.
func Attempt(tr *v1.TaskRun, n int) (*v1.TaskRun, error) {
	if n < 0 || n >= Attempts(tr) {
		return nil, fmt.Errorf("attempt %d of TaskRun %s/%s: expected one of the %s that Tekton archived",
			n, tr.Namespace, tr.Name, count(Attempts(tr), "attempt"))
	}
	attempt := *tr
	attempt.Status = withoutStatusSignature(tr.Status.RetriesStatus[n])
	attempt.Status.RetriesStatus = tr.Status.RetriesStatus[:n:n]
	return &attempt, nil
}

// podOfThisAttempt checks that the TaskRun's pod is not the pod of an archived attempt. What that pod signed
// does not count for this attempt.
func (p *placement) podOfThisAttempt() {
	s := &p.tr.Status
	archived := slices.ContainsFunc(s.RetriesStatus, func(a v1.TaskRunStatus) bool { return a.PodName == s.PodName })
	if s.PodName != "" && archived {
		p.found.fail(CheckPod, p.podName(), fmt.Sprintf("%q, the pod of an archived attempt", s.PodName),
			"every attempt has its own pod: what the pod of another attempt signed does not count")
	}
}

// artifactsOfEarlierAttempt returns the check for artifacts that are those of the previous attempt, and false if they
// are not. Tekton leaves them there when it starts the next attempt, and replaces them only when that one ends by
// itself. They count if the previous attempt verifies. If nothing refutes that attempt, they are in doubt: what the
// kubelet reported about its pod does not show here.
func (r *replay) artifactsOfEarlierAttempt(ctx context.Context, emitted, shown v1.Artifacts) (Check, bool) {
	n := Attempts(r.tr)
	if n == 0 || !slices.Contains(stoppedReasons, r.failureReason()) || emptyArtifacts(&shown) ||
		equality.Semantic.DeepEqual(emitted, shown) {
		return Check{}, false
	}
	attempt, err := Attempt(r.tr, n-1)
	if err != nil || attempt.Status.Artifacts == nil || !equality.Semantic.DeepEqual(*attempt.Status.Artifacts, shown) {
		return Check{}, false
	}
	switch r.earlierVerdict(ctx, attempt, n-1) {
	case Verified:
		return Check{
			ID: CheckArtifacts, Status: Note,
			Message: "status.artifacts are those of the previous attempt, whose evidence is good: Tekton ended this one " +
				"too early",
		}, true
	case Indeterminate:
		return Check{
			ID: CheckArtifacts, Status: Unknown, Expected: "proof of the previous attempt", Got: "none",
			Message: "status.artifacts are those of the previous attempt, which is not proven: Tekton ended this one too early",
		}, true
	}
	return Check{}, false
}

// earlierVerdict returns the verdict of an archived attempt by its own evidence.
func (r *replay) earlierVerdict(ctx context.Context, attempt *v1.TaskRun, n int) Verdict {
	verdict, known := r.budget.attempts[n]
	if !known {
		earlier := r.v.TaskRun(ctx, attempt, Facts{Budget: r.budget})
		if verdict = earlier.Verdict; earlier.onlyUnrecorded() {
			verdict = Verified // this attempt's own pod has to prove whose pod it was
		}
		r.budget.attempts[n] = verdict
	}
	return verdict
}

// LeftNothing reports whether an archived attempt shows nothing that anyone could take for its outcome: no
// results, no artifacts, and no step that ended by itself. Such an attempt needs no verification.
func LeftNothing(attempt *v1.TaskRun) bool {
	s := &attempt.Status
	if len(s.Results) > 0 || !emptyArtifacts(s.Artifacts) || len(s.Steps) > maxSteps {
		return false
	}
	stage := stepReader{run: newRun(attempt), found: &findings{}}
	for i := range s.Steps {
		state := &s.Steps[i]
		if len(state.Results)+len(state.Inputs)+len(state.Outputs) > 0 || !stage.exempt(stage.readStep(state)) {
			return false
		}
	}
	return true
}
