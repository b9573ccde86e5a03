// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/statushash"
)

// Status judges the annotations with which a controller vouches for the status of a completed TaskRun. All its
// checks have the ID StatusSignature. A status that is not signed refutes and proves nothing, nor does one whose SVID
// leads to no known authority. The judgement is Trusted if the annotations vouch for the status as it is.
func (r *Reader) Status(ctx context.Context, tr *v1.TaskRun, run check.Run) check.Judgement {
	if !statushash.Unchanged(tr) {
		return refuted("no annotation "+signing.StatusNotVerified, "one", "someone found that the status had been changed")
	}
	s, err := statushash.Parse(tr.Status.Annotations)
	switch {
	case errors.Is(err, statushash.ErrNone):
		return r.unsigned()
	case r.trustDomain == "":
		return noted("the status is signed, and the trust bundle does not name the cluster's own trust domain: export the " +
			"bundle again where SPIRE runs")
	case errors.Is(err, statushash.ErrOtherForm):
		return noted("the status is signed in a form that this version does not know: use the version of the add-on")
	case err != nil:
		return refuted("a signature of the status", err.Error(), "the signature of the status cannot be read")
	}
	return (&status{reader: r, Signature: s, tr: tr, run: run}).judge(ctx)
}

// status is a signature over a status, and what it is judged against.
type status struct {
	*statushash.Signature

	reader *Reader
	tr     *v1.TaskRun
	run    check.Run
}

// unsigned notes that a status is not signed, where it could be.
func (r *Reader) unsigned() check.Judgement {
	if r.trustDomain == "" {
		return check.Judgement{}
	}
	return noted("the status is not signed as a whole")
}

func (s *status) judge(ctx context.Context) check.Judgement {
	if err := s.CheckSignature(); err != nil {
		return refuted("a signature by the controller's key", err.Error(), "the signature of the status is not valid")
	}
	if err := s.CheckStatus(ctx, s.tr); err != nil {
		if !s.run.Live && !hasMessages(s.tr) {
			return noted("the steps' messages are gone, so that the signature of the status cannot be compared")
		}
		return refuted("the hash "+s.Hashed(), err.Error(), "the status was changed after it was signed")
	}
	if refutation := s.identity(); refutation != nil {
		return *refutation
	}
	at, j := s.time()
	if at.IsZero() {
		return j
	}
	return s.chain(at)
}

// identity returns a refutation unless the SVID is one with which a controller may sign in this form.
func (s *status) identity() *check.Judgement {
	wanted := spire.AddOnIDs(s.reader.trustDomain)
	if s.Form == statushash.FormV1 {
		wanted = spire.TektonIDs(s.reader.trustDomain)
	}
	refute := func(expected, got string) *check.Judgement {
		j := refuted(expected, got, "the SVID with which the status is signed is not the controller's")
		return &j
	}
	if err := s.SVID.CheckUsage(); err != nil {
		return refute("the certificate of a workload", err.Error())
	}
	id, err := s.SVID.ID()
	if err != nil {
		return refute("one SPIFFE ID", err.Error())
	}
	if !slices.Contains(wanted, id) {
		return refute(strings.Join(wanted, " or "), fmt.Sprintf("%q", id))
	}
	return nil
}

// time returns when the status was signed, or a judgement if that is not known. Form v2 names the time: by the clock
// of the signer, which may differ from those of the TaskRun. Form v1 does not, and is judged at the time when the
// TaskRun completed.
func (s *status) time() (time.Time, check.Judgement) {
	at := s.At
	if s.Form == statushash.FormV1 {
		at = s.run.Completed
	}
	latest := s.run.Now.Add(s.run.Skew)
	switch {
	case at.IsZero():
		return at, warned("the time at which the TaskRun completed", "none", "nothing shows when the status was signed")
	case at.After(latest):
		return time.Time{}, warned("before "+latest.UTC().Format(check.TimeFormat), at.UTC().Format(check.TimeFormat),
			"the status was signed later than the local clock: set this clock and verify again")
	}
	return at, check.Judgement{}
}

// chain follows the SVID to an authority of the cluster's own trust domain, like one of a step.
func (s *status) chain(at time.Time) check.Judgement {
	p := &proof{reader: s.reader, format: signing.FormatV2, svid: s.SVID, run: s.run, at: at}
	if s.Form == statushash.FormV1 {
		p.format = signing.FormatV1
	}
	var j check.Judgement
	p.chain(&j)
	for i := range j.Checks {
		j.Checks[i].ID = check.StatusSignature
		j.Checks[i].Message = "the SVID with which the status is signed: " + j.Checks[i].Message
		if j.Checks[i].Status == check.Unknown {
			j.Checks[i].Status = check.Warn
		}
	}
	if j.Trusted = p.authority != nil; j.Trusted {
		id, _ := s.SVID.ID() // it was compared
		j.Checks = append(j.Checks, check.Passed(check.StatusSignature,
			fmt.Sprintf("by %s at %s, form %s", id, at.UTC().Format(check.TimeFormat), s.Form)))
	}
	return j
}

func hasMessages(tr *v1.TaskRun) bool {
	return slices.ContainsFunc(tr.Status.Steps, func(s v1.StepState) bool {
		return s.Terminated != nil && s.Terminated.Message != ""
	})
}

func judgement(c check.Check) check.Judgement { return check.Judgement{Checks: []check.Check{c}} }

func refuted(expected, got, message string) check.Judgement {
	return judgement(check.Refuted(check.StatusSignature, expected, got, message))
}

func warned(expected, got, message string) check.Judgement {
	return judgement(check.Check{
		ID: check.StatusSignature, Status: check.Warn, Expected: expected, Got: got, Message: message,
	})
}

func noted(message string) check.Judgement {
	return judgement(check.Check{ID: check.StatusSignature, Status: check.Note, Message: message})
}
