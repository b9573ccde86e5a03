// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// judge collects what the checks of one TaskRun find.
type judge struct {
	v     *Verifier
	tr    *v1.TaskRun
	facts Facts
	now   time.Time

	checks  []Check
	more    map[kindOfCheck]int // how many of a kind there are
	caveats []string
	budget  *Budget
	steps   []*step
	units   []*unit   // of the steps that left evidence
	record  *recorded // nil unless its proof is good
	proven  bool      // every stage ran: without a failed check the verdict is VERIFIED

	restored    bool                   // the only step's message was put together from the status
	running     bool                   // the TaskRun is not completed
	clockBehind bool                   // something was done later than now
	unsigned    signing.UnsignedReason // what the first step without evidence says
	noResults   bool
	missingKey  string

	unrecorded bool // nothing but its own word proves whose pod it was
	isLegacy   bool // some evidence is of format v1
}

// checkOrder is the order in which checks are reported; the first one that decides the verdict is the reason.
var checkOrder = []CheckID{
	CheckMessage, CheckReserved, CheckCoverage, CheckFormat, CheckTaskRunUID, CheckPod, CheckPosition, CheckCredentialLeak,
	CheckToken, CheckKey, CheckSignature, CheckPayload, CheckTokenReuse, CheckCertificate, CheckTrustDomain, CheckSubject,
	CheckTime, CheckDeclaration, CheckResults, CheckStepResults, CheckArtifacts, CheckSucceeded, CheckLog, CheckRecord,
	CheckAssurance, CheckCondition,
}

// run takes every look in turn. A stage that needs what an earlier one could not provide is left out.
func (j *judge) run(ctx context.Context) {
	succeeded := j.tr.Status.GetCondition(apis.ConditionSucceeded)
	if succeeded.IsUnknown() {
		j.tooEarly(succeeded)
		return
	}
	if j.tooLong() || j.tooManySteps() || j.tooManyAttempts() {
		return
	}
	j.readRecord()
	j.readSteps()
	j.livePod()
	if !j.coverage() {
		return
	}
	j.verifyUnits(ctx)
	j.replay(ctx)
	j.outcome()
	j.proven = true
}

// tooEarly says that the TaskRun is not completed.
func (j *judge) tooEarly(succeeded *apis.Condition) {
	got := "no condition Succeeded"
	if succeeded != nil {
		got = fmt.Sprintf("Succeeded is %s/%s", succeeded.Status, succeeded.Reason)
	}
	j.running = true
	j.add(Check{
		ID: CheckTime, Status: Unknown, Expected: "a completed TaskRun", Got: got,
		Message: "the TaskRun is not completed: wait for it and verify again",
	})
}

// kindOfCheck is what is counted together.
type kindOfCheck struct {
	id     CheckID
	status Status
}

// maxOfKind is how many checks of one id and status are reported one by one: hostile objects can have any number of them.
const maxOfKind = 64

func (j *judge) add(c Check) {
	if j.more == nil {
		j.more = map[kindOfCheck]int{}
	}
	kind := kindOfCheck{c.ID, c.Status}
	j.more[kind]++
	if j.more[kind] <= maxOfKind {
		j.checks = append(j.checks, j.budget.shorten(c))
	}
}

// addOmitted says how many checks were left out.
func (j *judge) addOmitted() {
	kinds := slices.SortedFunc(maps.Keys(j.more), func(a, b kindOfCheck) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.status, b.status))
	})
	for _, kind := range kinds {
		if n := j.more[kind]; n > maxOfKind {
			j.checks = append(j.checks, Check{
				ID: kind.id, Status: Note, Message: fmt.Sprintf("%d more like these", n-maxOfKind),
			})
		}
	}
}

// fail adds a failed check. Every failure has both what was expected and what was found.
func (j *judge) fail(id CheckID, expected, got, message string) {
	j.add(Check{ID: id, Status: Fail, Expected: expected, Got: got, Message: message})
}

// pass adds a passed check unless something else is already known about it.
func (j *judge) pass(id CheckID, message string) {
	if !slices.ContainsFunc(j.checks, func(c Check) bool { return c.ID == id && c.Status != Note && c.Status != Warn }) {
		j.add(Check{ID: id, Status: Pass, Message: message})
	}
}

// failed reports whether a check with one of ids failed.
func (j *judge) failed(ids ...CheckID) bool {
	return slices.ContainsFunc(j.checks, func(c Check) bool { return c.Status == Fail && slices.Contains(ids, c.ID) })
}

// succeeded reports whether the TaskRun says that it succeeded.
func (j *judge) succeeded() bool { return j.tr.Status.GetCondition(apis.ConditionSucceeded).IsTrue() }

// failureReason is the reason of Succeeded=False, empty if the TaskRun succeeded.
func (j *judge) failureReason() string {
	if c := j.tr.Status.GetCondition(apis.ConditionSucceeded); c.IsFalse() {
		return c.Reason
	}
	return ""
}

// verdict is what the checks add up to.
func (j *judge) verdict() Verdict {
	verdict := Verified
	switch {
	case j.noResults:
		verdict = NoResults
	case !j.proven:
		verdict = Unsigned
	}
	for _, c := range j.checks {
		switch c.Status {
		case Fail:
			verdict = Worse(verdict, Failed)
		case Unknown:
			verdict = Worse(verdict, Indeterminate)
		case Missing:
			verdict = Worse(verdict, Unsigned)
		case Pass, Warn, Note:
		default:
			verdict = Worse(verdict, Failed)
		}
	}
	return verdict
}

// deciding is the status of a check that leads to each verdict.
var deciding = map[Verdict]Status{Failed: Fail, Indeterminate: Unknown, Unsigned: Missing}

// result adds everything up.
func (j *judge) result() Result {
	if !j.running {
		found := j.verdict()
		j.settleRecord(found)
		j.settleOwner()
	}
	verdict := j.verdict()
	j.compareCondition(verdict)
	j.addOmitted()
	slices.SortStableFunc(j.checks, func(a, b Check) int {
		return cmp.Compare(slices.Index(checkOrder, a.ID), slices.Index(checkOrder, b.ID))
	})
	r := Result{
		TaskRun: Ref{Namespace: j.tr.Namespace, Name: j.tr.Name, UID: j.tr.UID},
		Verdict: verdict,
		Cluster: &j.v.cluster,
		Checks:  j.checks,
		Steps:   len(j.tr.Status.Steps), SignedSteps: len(j.units),
		Results:    digestsOf(j.withoutSignatures(j.tr.Status.Results), verdict == Verified),
		Caveats:    j.caveats,
		MissingKey: j.missingKey,
		Record:     j.record.summary(),
		Unrecorded: j.unrecorded && verdict == Verified,
	}
	if i := slices.IndexFunc(j.checks, func(c Check) bool { return c.Status == deciding[verdict] }); i >= 0 {
		r.Reason, r.Message = j.reason(verdict, j.checks[i].ID), j.checks[i].Message
	}
	if c := j.tr.Status.GetCondition(apis.ConditionSucceeded); c != nil {
		r.Succeeded = &Outcome{Status: string(c.Status), Reason: c.Reason}
	}
	if len(j.units) > 0 {
		r.Backend, r.Format = j.units[0].kind.scheme.Backend(), j.units[0].kind.format
	}
	switch {
	case verdict != Verified:
	case len(j.units) == 0:
		j.fromRecord(&r)
	default:
		r.Assurance = j.units[0].kind.assurance()
		r.Identity = j.identity()
		r.Time = j.signingTime()
	}
	return r
}

// reason is the id of the check that decided, or something that says more.
func (j *judge) reason(verdict Verdict, id CheckID) string {
	switch {
	case verdict == Indeterminate && j.running:
		return ReasonRunning
	case verdict == Indeterminate && j.clockBehind && id == CheckTime:
		return ReasonClockBehind
	case verdict == Unsigned && j.unsigned != "":
		return string(j.unsigned)
	}
	return string(id)
}

// compareCondition notes that the add-on's condition on the TaskRun says something else. It proves nothing: whoever may
// write the status may have set it.
func (j *judge) compareCondition(verdict Verdict) {
	condition := j.tr.Status.GetCondition(ConditionType)
	if condition == nil {
		return
	}
	if condition.IsUnknown() {
		j.add(Check{ID: CheckCondition, Status: Note, Got: "Unknown/" + condition.Reason, Message: "the add-on has not judged the TaskRun"})
		return
	}
	if condition.IsTrue() == (verdict == Verified) {
		j.pass(CheckCondition, "the condition "+string(ConditionType)+" says the same")
		return
	}
	j.add(Check{
		ID: CheckCondition, Status: Note, Expected: string(verdict), Got: fmt.Sprintf("%s/%s", condition.Status, condition.Reason),
		Message: "the condition " + string(ConditionType) + " says something else: it is never trusted",
	})
}
