// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"errors"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// The status of a completed TaskRun is signed as a whole (TEP-0089, phase 2) if the backend signs it, and if it is
// as Tekton's controller wrote it, apart from the add-on's own condition. Later writes of Tekton's controller are
// signed again. A status that somebody else changed is not, and its TaskRun is FAILED.

// signedStatus is how far the signature over a status is good.
type signedStatus struct {
	standing statusStanding
	check    verify.Check // what refutes a status that was changed
}

// statusStanding is how far a signature over a status is good. The zero value means that there is none.
type statusStanding int

const (
	statusUnsigned  statusStanding = iota
	statusUndecided                // the keys to verify it are not known here
	statusSound
	statusChanged // since it was signed
)

// changedMark is the value of the annotation about a status that was changed. Only its presence counts.
var changedMark = quoted("no")

// losesVerdict reports whether the verdict of a status that was changed is still a good one, or none.
func (w write) losesVerdict() bool {
	return w.signed.standing == statusChanged && (w.before.good || !w.before.has)
}

// signedBefore verifies the signature over the old status, or that of Tekton's own signer in the write that
// completes the TaskRun.
func (h *StatusHandler) signedBefore(ctx context.Context, w write) signedStatus {
	switch {
	case h.Signer == nil || w.old.managedByOther():
		return signedStatus{}
	case w.old.complete() || w.old.marks.signed.changed != "":
		return h.signedInWrite(ctx, w)
	case w.submitted.complete() && w.by == w.accounts.Tekton && !w.submitted.marks.signed.own():
		return h.verifyStatus(ctx, w.old, w.submitted.state)
	}
	return signedStatus{}
}

// signedInWrite verifies the signature over the old status, and whether the write keeps to what was signed.
func (h *StatusHandler) signedInWrite(ctx context.Context, w write) signedStatus {
	if w.by == w.accounts.Tekton && w.submitted.marks.signed.changed != "" {
		return h.verifyStatus(ctx, w.old, w.submitted.state) // by Tekton's own signer
	}
	found := h.verifyStatus(ctx, w.old, w.old.state)
	if found.standing == statusSound && w.by != w.accounts.Tekton && !sameSigned(w.old.state, w.submitted.state) {
		return signedStatus{statusChanged, verify.Check{
			ID: verify.CheckStatusSignature, Status: verify.Fail, Expected: "a write by " + w.accounts.Tekton,
			Got: "one by " + w.by, Message: "the status was changed after it was signed",
		}}
	}
	return found
}

func (h *StatusHandler) verifyStatus(ctx context.Context, old object, s state) signedStatus {
	if !s.marks.signed.present() && s.marks.signed.changed == "" {
		return signedStatus{}
	}
	tr, err := wholly(old, s)
	if err != nil {
		return signedStatus{standing: statusUndecided}
	}
	err = h.Signer.VerifyStatusInternalAnnotation(ctx, tr)
	var refuted *cluster.StatusRefutedError
	switch {
	case err == nil:
		return signedStatus{standing: statusSound}
	case errors.As(err, &refuted):
		return signedStatus{statusChanged, refuted.Check}
	case errors.Is(err, cluster.ErrStatusUnsigned):
		return signedStatus{}
	}
	logging.FromContext(ctx).Infow("the signature of a status cannot be verified now", zap.Error(err))
	return signedStatus{standing: statusUndecided}
}

// judgeWhole verifies the TaskRun, unless its status was changed since it was signed: then it is FAILED.
func (h *StatusHandler) judgeWhole(ctx context.Context, w write) (verify.Result, verify.Facts, error) {
	if w.signed.standing != statusChanged {
		return h.judge(ctx, w, w.submitted.state)
	}
	logging.FromContext(ctx).Warnw("the status was changed since it was signed", "message",
		display.Safe(w.signed.check.Message))
	return verify.Result{
		TaskRun: verify.Ref{Namespace: w.old.id.Namespace, Name: w.old.id.Name, UID: types.UID(w.old.id.UID)},
		Verdict: verify.Failed, Reason: string(w.signed.check.ID), Message: w.signed.check.Message,
		Checks: []verify.Check{w.signed.check},
	}, verify.Facts{}, nil
}

// sameSigned reports whether two states agree in everything that a signature covers, apart from the add-on's
// condition, which the add-on keeps.
func sameSigned(a, b state) bool { return sameState(signedPart(a), signedPart(b)) }

func signedPart(s state) state {
	part := s.clone()
	delete(part.fields, fieldAnnotations)
	part.setConditions(slices.DeleteFunc(slices.Clone(s.conditions), isOurs))
	return part
}

// sameWhole reports whether two states agree in everything that a signature covers.
func sameWhole(a, b state) bool {
	a, b = a.clone(), b.clone()
	delete(a.fields, fieldAnnotations)
	delete(b.fields, fieldAnnotations)
	return sameState(a, b)
}

// withSignature returns the status to store with the signature that fits it. If there is no room, it is not signed.
func (h *StatusHandler) withSignature(ctx context.Context, w write, wanted state, room bool) state {
	if h.Signer == nil || w.old.managedByOther() {
		return wanted
	}
	signed, sign := w.signature(wanted)
	wanted.marks.signed = signed
	if sign && room {
		wanted.marks.signed = h.sign(ctx, w, wanted)
	}
	wanted.marks.signed.changed = w.noted(wanted.marks.signed.changed)
	if wanted.marks.signed != w.submitted.marks.signed && !w.far() && !w.fits(wanted) {
		wanted.marks.signed = signedMarks{}
	}
	return wanted
}

// noted returns the note that the status was changed, if it was. A note stays for ever.
func (w write) noted(came string) string {
	before := w.old.marks.signed.changed
	switch {
	case before != "":
		return before
	case w.signed.standing == statusChanged && came == "":
		return changedMark
	}
	return came
}

// signature returns which signature the status keeps, and whether to sign it anew instead. Only Tekton's controller
// and the add-on write it: the annotations of others are not stored.
func (w write) signature(wanted state) (kept signedMarks, sign bool) {
	before, came, byTekton := w.old.marks.signed, w.submitted.marks.signed, w.by == w.accounts.Tekton
	if !byTekton {
		came = before
	}
	none := signedMarks{changed: came.changed}
	switch {
	case w.signed.standing == statusChanged && before.present():
		return before, false
	case came.present() && !came.own(): // Tekton's own signer is at work
		return came, false
	case !wanted.complete():
		return none, false
	case !w.old.complete():
		return none, byTekton
	case w.signed.standing != statusUnsigned && sameWhole(w.old.state, wanted):
		return before, false
	}
	return none, w.signed.standing == statusSound && before.own()
}

// sign signs the status to store.
func (h *StatusHandler) sign(ctx context.Context, w write, wanted state) signedMarks {
	wanted.marks.signed = signedMarks{}
	tr, err := wholly(w.old, wanted)
	if err == nil {
		err = h.Signer.AppendStatusInternalAnnotation(ctx, tr)
	}
	if err == nil && tr.Status.Annotations[signing.StatusHash] == "" {
		return signedMarks{} // the backend does not sign it
	}
	if h.OnSigned != nil {
		h.OnSigned(err)
	}
	if err != nil {
		logging.FromContext(ctx).Warnw("the status is not signed", zap.Error(err))
		return signedMarks{}
	}
	return signedMarksOf(tr)
}

func signedMarksOf(tr *v1.TaskRun) signedMarks {
	in := tr.Status.Annotations
	return signedMarks{
		hash: quoted(in[signing.StatusHash]), signature: quoted(in[signing.StatusSignature]),
		certificates: quoted(in[signing.StatusCertificates]),
	}
}
