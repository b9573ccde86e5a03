// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// seal puts the seal into the status. A verdict without a seal is only a claim, and the reconciler has it judged
// again. Nothing is refused for that.
func (h *StatusHandler) seal(ctx context.Context, id identity, s *state, found verify.Result, seen verify.Facts) {
	of, err := id.subject(*s)
	value := ""
	if err == nil {
		value, err = seal.Make(h.SealKey(), of, seal.FactsOf(found, seen, h.Now()))
	}
	if err != nil {
		logging.FromContext(ctx).Errorw("a verdict without a seal: it will be given again", zap.Error(err))
		return
	}
	s.marks.seal = quoted(value)
}

// sealAttempt puts a seal into an archived attempt that was verified by a receipt. The TaskRun's record does not
// name such attempts, and anyone who can write the status can set the condition.
func (h *StatusHandler) sealAttempt(ctx context.Context, id identity, s *state, n int, found seal.Facts) {
	if !found.Receipted() {
		return
	}
	of, err := id.subject(*s)
	value := ""
	if err == nil {
		value, err = seal.Make(h.SealKey(), of.OfAttempt(n), found.OfAttempt())
	}
	if err != nil {
		logging.FromContext(ctx).Errorw("an attempt without a seal: the record will not name it", zap.Error(err))
		return
	}
	s.marks.seal = quoted(value)
}

// opened returns the content of the seal in a status.
func (h *StatusHandler) opened(id identity, s state) (seal.Facts, bool) {
	sealed := text(s.marks.seal)
	if sealed == "" {
		return seal.Facts{}, false
	}
	of, err := id.subject(s)
	if err != nil {
		return seal.Facts{}, false
	}
	facts, err := seal.Open(h.SealKey(), of, sealed)
	return facts, err == nil
}

// standing examines the verdict of the old object: its seal, or its record if there is none.
func (h *StatusHandler) standing(ctx context.Context, w write) standing {
	ours := w.old.ours()
	if !w.old.complete() || len(ours) > 1 {
		return standing{}
	}
	before := standing{has: len(ours) == 1}
	if before.has && !decided(ours[0].head.Status) {
		return standing{}
	}
	before.good = before.has && ours[0].head.Status == string(corev1.ConditionTrue)
	recorded := text(w.old.marks.record)
	if facts, ok := h.opened(w.old.id, w.old.state); ok {
		before.judged, before.sealed = true, true
		before.record = recorded != "" && facts.Record == seal.RecordDigest(recorded)
		return before
	}
	if recorded == "" || !before.has || !h.isRecorded(ctx, w, recorded, before.good) {
		return standing{}
	}
	before.judged, before.record = true, true
	return before
}

// isRecorded reports whether the record is the add-on's, for this state, with the condition's verdict.
func (h *StatusHandler) isRecorded(ctx context.Context, w write, recorded string, good bool) bool {
	if h.Recorded == nil {
		return false
	}
	tr, err := asStored(w.old, w.old.state)
	if err != nil {
		return false
	}
	tr.Status.Annotations = map[string]string{record.Annotation: recorded}
	verdict, ok := h.Recorded(ctx, RulesOf(w.settings, w.mode), tr)
	return ok && good == (verdict == verify.Verified)
}

// carry returns the status of a write that changes nothing that was judged. A record comes with a seal that names
// it, which only the add-on can make.
func (h *StatusHandler) carry(w write) state {
	wanted := w.carried()
	recorded := text(w.submitted.marks.record)
	offered := wanted
	offered.marks.record, offered.marks.seal = w.submitted.marks.record, w.submitted.marks.seal
	if recorded == "" || offered.marks == wanted.marks {
		return wanted
	}
	if facts, ok := h.opened(w.old.id, offered); ok && facts.Record == seal.RecordDigest(recorded) {
		return offered
	}
	return wanted
}

// Recorded returns the verdict in a TaskRun's record, if the add-on made it for the TaskRun as it is. It makes no
// request.
func (t *Trust) Recorded(_ context.Context, rules Rules, tr *v1.TaskRun) (verify.Verdict, bool) {
	v, err := t.verifiersFor(rules)
	if err != nil {
		return "", false
	}
	return v.local.Recorded(tr)
}
