// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"go.uber.org/zap"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/objectsize"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// size returns how large the TaskRun is with this status.
func (w write) size(s state) (int, error) {
	raw, err := encode(s)
	status := w.submitted.members["status"]
	if status == nil {
		return w.submitted.size + len(raw) + len(`,"status":`), err
	}
	return w.submitted.size - len(status) + len(raw), err
}

// takes reports whether the API server accepts the TaskRun at this size. It tries again without managedFields if
// those make it too large for the store.
func (w write) takes(size int) bool {
	return objectsize.Fits(w.old.id.Namespace, w.old.id.Name, size-w.submitted.managedFields()) &&
		objectsize.Reviewable(w.old.size, size)
}

// managedFields is their size in bytes.
func (o object) managedFields() int {
	metadata, err := members(o.members["metadata"])
	if err != nil {
		return 0
	}
	return len(metadata["managedFields"])
}

// far reports whether the write is so small that the add-on's additions do not matter. An archived attempt counts
// twice.
func (w write) far() bool {
	const conditionsAndSeal = 64 << 10
	return w.takes(2*w.submitted.size + conditionsAndSeal)
}

func (w write) fits(s state) bool {
	size, err := w.size(s)
	return err == nil && w.takes(size)
}

// withRoom returns the wanted status, or one that fits, with a warning. The add-on's additions must not prevent a
// TaskRun from completing.
func (h *StatusHandler) withRoom(ctx context.Context, w write, wanted state) (state, string, error) {
	if w.far() || w.old.managedByOther() {
		return wanted, "", nil
	}
	if !w.submitted.complete() && !w.takes(w.submitted.size) {
		return wanted, "", nil // the store refuses it as it came
	}
	size, err := w.size(wanted)
	if err != nil || w.takes(size) {
		return wanted, "", err
	}
	size -= w.submitted.managedFields()
	log := logging.FromContext(ctx).With("bytes", size, "oldBytes", w.old.size)
	completes := !w.old.complete() && w.submitted.complete() && !w.submitted.ranNothing()
	switch {
	case completes && w.mode == settings.Enforce:
		log.Warn("this TaskRun is too large to be stored with its verdict: it fails without its results")
		return h.failedBySize(ctx, w, size)
	case w.submitted.ranNothing() || w.keepsVerdict(h.standing(ctx, w)):
		return wanted, "", nil
	}
	log.Warn("this TaskRun is too large to be stored with a verdict: it is stored without one")
	bare, err := w.bare(wanted)
	return bare, warning("no room for a verdict: with it, the TaskRun takes %d bytes, more than the API server stores",
		size), err
}

// keepsVerdict reports whether the store, and not the add-on, answers a write that does not fit: the TaskRun is
// completed, and must not lose its verdict by growing, or the add-on itself asks for a verdict, and must learn that
// it does not fit.
func (w write) keepsVerdict(before standing) bool {
	return w.old.complete() && (before.judged || w.by == w.accounts.AddOn || w.mode == settings.Enforce)
}

// bare returns the status without a verdict. In the write that completes a TaskRun it also removes evidence if that
// makes room: first from status.results, then from the steps' messages. In enforce, while the TaskRun runs, archived
// attempts stay without their results.
func (w write) bare(wanted state) (state, error) {
	if w.mode == settings.Enforce {
		return w.bareAttempts(unjudged(wanted))
	}
	s, err := w.bareAttempts(unjudged(w.submitted.state))
	if err != nil || w.old.complete() || w.fits(s) {
		return s, err
	}
	stripped := s.clone()
	for _, strip := range []func(*state) error{(*state).stripMaterial, (*state).stripMessages} {
		if err := strip(&stripped); err != nil {
			return s, err
		}
		if w.fits(stripped) {
			return stripped, nil
		}
	}
	return s, nil
}

// bareAttempts removes the verdicts from attempts that were archived or changed in this write.
func (w write) bareAttempts(s state) (state, error) {
	attempts, err := s.attempts()
	if err != nil || len(attempts) == 0 {
		return s, nil // as it came
	}
	before, err := w.old.attempts()
	if err != nil {
		before = nil
	}
	for n := range attempts {
		if n >= len(before) || !sameState(attempts[n], before[n]) {
			attempts[n] = attempts[n].withoutVerdict()
		}
	}
	return s, s.setAttempts(attempts)
}

// failedBySize returns the status of a TaskRun that enforce fails because its verdict does not fit beside its
// results: without them, and if necessary without Tekton's report of its steps. What was stored before leaves room
// for that.
func (h *StatusHandler) failedBySize(ctx context.Context, w write, size int) (state, string, error) {
	why := fmt.Sprintf("the TaskRun takes %d bytes with its verdict, and the API server stores %d of an object that "+
		"was %d before; "+
		"pass large values by a workspace", size, min(objectsize.Stored(w.old.id.Namespace, w.old.id.Name),
		objectsize.Reviewed-w.old.size), w.old.size)
	said := warning("no room for a verdict: %s", why)
	found := verify.Result{
		Verdict: verify.Failed, Reason: string(verify.CheckCondition), Message: "too large: " + why,
		Checks: []verify.Check{{ID: verify.CheckCondition, Status: verify.Fail}},
	}
	cond := failedCondition("FAILED: too large: "+why, h.Now())
	failed := w.submitted.withoutVerdict()
	if err := failed.setCondition(cond); err != nil {
		return state{}, "", err
	}
	if err := failed.fail(cond.Message, h.Now()); err != nil {
		return state{}, "", err
	}
	h.seal(ctx, w.old.id, &failed, found, verify.Facts{})
	if w.fits(failed) {
		return failed, said, nil
	}
	failed = w.least(failed)
	h.seal(ctx, w.old.id, &failed, found, verify.Facts{})
	if !w.fits(failed) {
		failed = unjudged(failed)
		logging.FromContext(ctx).Errorw("not even a verdict has room in this TaskRun", zap.Int("oldBytes", w.old.size))
	}
	return failed, said, nil
}

// least returns the parts that show that a TaskRun failed, and of the rest only what was stored before.
func (w write) least(failed state) state {
	least := failed.clone()
	kept := []string{fieldConditions, fieldStartTime, fieldCompletionTime, fieldPodName}
	maps.DeleteFunc(least.fields, func(field string, _ json.RawMessage) bool { return !slices.Contains(kept, field) })
	for _, field := range []string{fieldTaskSpec, fieldRetries} {
		if value := w.old.fields[field]; !isNull(value) {
			least.fields[field] = value
		}
	}
	return least
}
