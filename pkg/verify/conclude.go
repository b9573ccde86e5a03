// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// conclusion turns what the stages found into a result.
type conclusion struct {
	run
	v          *Verifier
	found      *findings
	units      units           // empty if the evidence is gone, or was never there
	record     *recorded       // nil unless its proof is good
	attempt    bool            // the TaskRun's record proves this attempt
	receipt    *record.Receipt // nil unless a receipt covers steps
	unrecorded bool            // only the pod's own claim shows whose pod it was
}

// result settles what depends on all the stages, and returns the result.
func (c *conclusion) result() Result {
	if !c.found.running {
		c.settleRecord(c.found.verdict())
		c.settleOwner()
	}
	verdict := c.found.verdict()
	c.compareCondition(verdict)
	c.found.close()
	r := Result{
		TaskRun: Ref{Namespace: c.tr.Namespace, Name: c.tr.Name, UID: c.tr.UID},
		Verdict: verdict,
		Cluster: &c.v.cluster,
		Checks:  c.found.checks,
		Steps:   len(c.tr.Status.Steps), SignedSteps: len(c.units),
		Results:    digestsOf(c.units.withoutSignatures(c.tr.Status.Results), verdict == Verified),
		Caveats:    c.found.caveats,
		MissingKey: c.found.missingKey,
		Record:     c.record.summary(),
		Unrecorded: c.unrecorded && verdict == Verified,
	}
	r.Reason, r.Message = c.found.reason()
	if s := c.tr.Status.GetCondition(apis.ConditionSucceeded); s != nil {
		r.Succeeded = &Outcome{Status: string(s.Status), Reason: s.Reason}
	}
	if len(c.units) > 0 {
		r.Backend, r.Format = c.units[0].kind.scheme.Backend(), c.units[0].kind.format
	}
	switch {
	case verdict != Verified:
	case c.receipt != nil:
		c.fromReceipt(&r)
	case c.attempt:
		r.Backend, r.Assurance, r.Basis = signing.BackendReceipt, signing.AssuranceReceipt, record.BasisReceipt
	case len(c.units) == 0:
		c.fromRecord(&r)
	default:
		r.Assurance = c.units[0].kind.assurance()
		r.Identity = c.identity()
		r.Time = c.signingTime()
	}
	return r
}

// identity returns who signed. Call it for a verified TaskRun.
func (c *conclusion) identity() *Identity {
	first := c.units[0]
	id := &Identity{Subject: first.who.Subject, Issuer: first.who.Issuer, PodUID: types.UID(first.podUID())}
	for _, u := range c.units {
		if u.who.KeyID != "" {
			id.KeyIDs = append(id.KeyIDs, u.who.KeyID)
		}
	}
	slices.Sort(id.KeyIDs)
	id.KeyIDs = slices.Compact(id.KeyIDs)
	return id
}

// signingTime returns when the last step signed. Call it for a verified TaskRun.
func (c *conclusion) signingTime() *SigningTime {
	if c.record.good() {
		return c.record.time()
	}
	last := c.units[0].proof.When()
	for _, u := range c.units[1:] {
		if when := u.proof.When(); when.At.After(last.At) {
			last = when
		}
	}
	last.At = last.At.UTC()
	return &last
}

// fromReceipt fills in the result for a receipt, with the add-on as the identity.
func (c *conclusion) fromReceipt(r *Result) {
	r.Backend, r.Assurance = signing.BackendReceipt, signing.AssuranceReceipt
	r.Receipt, r.Basis = c.receipt, record.BasisReceipt
	if len(c.units) > 0 {
		r.Basis = record.BasisBoth
	}
	r.Identity = &Identity{Subject: c.v.recorder, PodUID: c.facts.Pod.UID}
	r.Time = &SigningTime{Source: TimeFromReceipt, At: c.now.UTC().Truncate(time.Second), Trusted: true}
}

// fromRecord fills in what the evidence would have shown if it were still there.
func (c *conclusion) fromRecord(r *Result) {
	p := c.record.Predicate
	r.Backend, r.Format, r.Assurance = signing.Backend(p.Backend), c.record.format(), signing.Assurance(p.Assurance)
	r.Time = c.record.time()
	r.Identity = &Identity{Subject: c.v.subjectOf(r.Backend, c.against(nil)), PodUID: types.UID(p.PodUID), KeyIDs: p.Keys}
	if p.HasReceipt() {
		r.Identity.Subject, r.Basis, r.Receipt = c.record.subject, p.Basis, p.Receipt
	}
}

// subjectOf returns whose identity proves a run with a backend.
func (v *Verifier) subjectOf(backend signing.Backend, r check.Run) string {
	if reader, ok := v.readers[backend]; ok {
		return reader.Subject(r)
	}
	return r.ServiceAccount()
}

// compareCondition adds a note if the add-on's condition on the TaskRun has another verdict. The condition
// proves nothing: anyone who can write the status can set it.
func (c *conclusion) compareCondition(verdict Verdict) {
	condition := c.tr.Status.GetCondition(ConditionType)
	if condition == nil {
		return
	}
	if condition.IsUnknown() {
		c.found.add(Check{ID: CheckCondition, Status: Note, Got: "Unknown/" + condition.Reason,
			Message: "the add-on has not judged the TaskRun"})
		return
	}
	if condition.IsTrue() == (verdict == Verified) {
		c.found.pass(CheckCondition, "the condition "+string(ConditionType)+" has the same verdict")
		return
	}
	c.found.add(Check{
		ID: CheckCondition, Status: Note, Expected: string(verdict),
		Got:     fmt.Sprintf("%s/%s", condition.Status, condition.Reason),
		Message: "the condition " + string(ConditionType) + " has another verdict: it is never trusted",
	})
}

// settleRecord compares the verdict in the record with the verdict now.
func (c *conclusion) settleRecord(now Verdict) {
	switch {
	case c.record == nil:
		if len(c.units) > 0 && !c.carriesRecord() && (c.ownerProven() || c.v.allowUnrecorded || now != Verified) {
			c.found.add(Check{ID: CheckRecord, Status: Note, Message: "the TaskRun carries no record of the add-on"})
		}
		return
	case !c.record.matches:
		return
	}
	for _, u := range c.units {
		if uid := u.podUID(); u.read && uid != "" && c.record.PodUID != "" && uid != c.record.PodUID {
			c.found.refute(u, CheckRecord, c.record.PodUID, uid, "the record names another pod than the evidence")
			return
		}
	}
	said := Verdict(c.record.Verdict)
	at := c.record.at.UTC().Format(check.TimeFormat)
	switch {
	case said == now:
		c.found.pass(CheckRecord, fmt.Sprintf("%s by %s at %s", said, c.record.subject, at))
	case said == Failed, now == Verified && (said == Unsigned || said == NoResults):
		c.found.fail(CheckRecord, fmt.Sprintf("%s, as the add-on found at %s", said, at), string(now),
			"the add-on saw something that does not show now")
	default:
		c.found.add(Check{
			ID: CheckRecord, Status: Note, Expected: fmt.Sprintf("%s, as the add-on found at %s", said, at), Got: string(now),
			Message: "the record has another verdict: it never makes a verdict better",
		})
	}
}
