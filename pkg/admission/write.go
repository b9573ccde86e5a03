// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// write is one write to the status of a TaskRun.
type write struct {
	old, submitted object
	settings       settings.Settings
	mode           settings.Enforcement
	accounts       Accounts
	by             string       // the user who writes
	before         standing     // of the verdict in old
	signed         signedStatus // how far the signature over the old status is good
}

// standing is how far the verdict in a status is the add-on's own. The zero value means that nothing proves that the
// add-on judged this state.
type standing struct {
	judged bool // a seal or a record proves it
	sealed bool // the seal is the add-on's
	has    bool // it set a condition
	good   bool // which is True
	record bool // the record in it is the add-on's
}

// refusal is an error that explains why a write must not be stored.
type refusal struct {
	reason  metav1.StatusReason
	code    int32
	message string
}

func (r *refusal) Error() string { return r.message }

// refused returns an error if enforce must not admit the write: judged attempts are history, and after completion
// only Tekton's controller has a reason to change what a verdict depends on.
func (w write) refused() error {
	if w.mode != settings.Enforce {
		return nil
	}
	before, err := w.old.attempts()
	if err != nil {
		return err
	}
	after, err := w.submitted.attempts()
	if err != nil {
		return err
	}
	if !begins(after, before) {
		// Tekton's controller writes this if its view of the TaskRun is older than the add-on's retry. It reads again
		// after a conflict.
		return &refusal{metav1.StatusReasonConflict, http.StatusConflict, fmt.Sprintf(
			"expected the %d archived attempts in status.retriesStatus as they are, got %d or other ones: "+
				"the TaskRun was retried in the meantime, read it again", len(before), len(after))}
	}
	if w.by == w.accounts.Tekton {
		return nil
	}
	switch {
	case len(after) != len(before):
		return w.forbidden("only Tekton's controller retries a TaskRun")
	case w.old.complete() && !sameJudged(w.old.state, w.submitted.state):
		return w.forbidden("the TaskRun is completed, and its results are enforced")
	case w.old.complete() && w.old.marks.signed.own() && !sameSigned(w.old.state, w.submitted.state):
		return w.forbidden("the TaskRun is completed, and its status is signed")
	}
	return nil
}

func (w write) forbidden(why string) error {
	return &refusal{metav1.StatusReasonForbidden, http.StatusForbidden, fmt.Sprintf(
		"%s: expected a write by %s, got one by %s; results are what the pod signed, run the TaskRun again to change them",
		why, w.accounts.Tekton, display.Safe(w.by))}
}

// begins reports whether the archived attempts begin with all earlier ones.
func begins(all, before []state) bool {
	if len(all) < len(before) {
		return false
	}
	for i := range before {
		if !sameState(all[i], before[i]) {
			return false
		}
	}
	return true
}

// changesDeclaration reports whether the write changes status.taskSpec, which Tekton sets once. It declares the
// Task's results, and no signature of a step covers it.
func (w write) changesDeclaration() bool {
	declared := w.old.fields[fieldTaskSpec]
	return !isNull(declared) && !sameJSON(declared, w.submitted.fields[fieldTaskSpec])
}

// pinned returns the write with status.taskSpec as it was.
func (w write) pinned() write {
	if w.changesDeclaration() {
		w.submitted.state = w.submitted.clone()
		w.submitted.fields[fieldTaskSpec] = w.old.fields[fieldTaskSpec]
	}
	return w
}

// carried returns the status of a write that changes nothing that was judged. Condition and seal stay even if the
// write drops or changes them, and the record if it is the add-on's.
func (w write) carried() state {
	wanted := w.submitted.withoutVerdict()
	if w.before.sealed {
		wanted.marks.seal = w.old.marks.seal
	}
	if w.before.record {
		wanted.marks.record = w.old.marks.record
	}
	if w.before.has {
		wanted.placeCondition(w.old.ours()[0])
	}
	wanted.inOrder()
	return wanted
}

// judged returns the status of a completed TaskRun with its verdict. It removes the record of an earlier verdict.
func (w write) judged(result verify.Result, now time.Time) (state, error) {
	wanted := w.submitted.withoutVerdict()
	cond := w.condition(result, now)
	if cond == nil {
		wanted.inOrder()
		return wanted, nil
	}
	if err := wanted.setCondition(cond); err != nil {
		return state{}, err
	}
	good := cond.Status == corev1.ConditionTrue
	// What was published before stays, even if it cannot be judged any more.
	unproven := result.Verdict == verify.Indeterminate && w.old.complete() && sameJudged(w.old.state, w.submitted.state)
	switch {
	case good && !w.settings.KeepMaterial:
		return wanted, wanted.stripMaterialOf(result)
	case good || unproven || w.mode != settings.Enforce:
		return wanted, nil
	}
	if err := wanted.fail(cond.Message, now); err != nil {
		return state{}, err
	}
	if w.submitted.succeeded().Status == "True" && w.retriable() {
		return wanted, wanted.retry(cond.Message, now)
	}
	return wanted, nil
}

// judgedAttempt returns an archived attempt with its verdict.
func (w write) judgedAttempt(attempt state, result verify.Result, now time.Time) (state, error) {
	wanted := attempt.withoutVerdict()
	cond := conditionFor(result, now)
	if cond == nil {
		return wanted, nil
	}
	if err := wanted.setCondition(cond); err != nil {
		return state{}, err
	}
	if cond.Status != corev1.ConditionTrue && w.mode == settings.Enforce {
		return wanted, wanted.fail(cond.Message, now)
	}
	return wanted, nil
}

// condition returns the condition for the result and for how the write came about, or nil if none is due.
func (w write) condition(result verify.Result, now time.Time) *condition {
	cond := conditionFor(result, now)
	if !w.old.complete() {
		return cond
	}
	said, good := "FAILED: what was verified is gone", false
	if cond != nil {
		said, good = cond.Message, cond.Status == corev1.ConditionTrue
	}
	switch {
	case w.signed.standing == statusChanged:
		return cond
	case w.before.good && w.by != w.accounts.Tekton:
		if good {
			said = "FAILED: what was verified has changed since"
		}
		return failedCondition("written after completion by "+display.Short(w.by, maxValue)+": "+said, now)
	case good && w.old.failedByEnforcement() && w.submitted.failedByEnforcement():
		return failedCondition("FAILED: enforcement took the results of this TaskRun away", now)
	case cond == nil && w.before.has:
		return failedCondition(said, now)
	case cond != nil && !w.before.judged:
		cond.Message = cut(said + late)
	}
	return cond
}

// retriable reports whether Tekton would run the TaskRun again if this attempt failed, like
// (*v1.TaskRun).IsRetriable. A TaskRun that was published as completed is never taken back.
func (w write) retriable() bool {
	attempts, err := w.submitted.attempts()
	spec := w.old.spec()
	return err == nil && !w.old.complete() && !spec.cancelled() && len(attempts) < spec.Retries
}
