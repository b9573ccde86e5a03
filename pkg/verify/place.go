// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"fmt"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TektonController is the value of spec.managedBy that stands for Tekton itself. So does an empty field.
const TektonController = "tekton.dev/pipeline"

// placement is the stage place. It checks whether the pod is the TaskRun's, and which steps left evidence.
type placement struct {
	run
	found  *findings
	steps  []*step
	record *recorded // nil unless its proof is good
	units  units     // of the steps that left evidence

	receipts bool // a receipt may cover steps without evidence
	bare     int  // steps that should have evidence and have none
}

// cover checks that every step left evidence if at least one did, and returns the units of those steps.
func (p *placement) cover() units {
	var bare []*step // steps that should have evidence and have none
	for _, s := range p.steps {
		_, unsigned := s.unsigned()
		switch {
		case len(s.carriers) > 0 && !unsigned:
			p.units = append(p.units, &unit{step: s})
		case unsigned || !s.broken && !p.exempt(s):
			bare = append(bare, s)
		}
	}
	p.bare = len(bare)
	for _, s := range bare {
		p.bareStep(s)
	}
	p.found.pass(CheckCoverage, p.coverageMessage())
	return p.units
}

// receivable reports whether a receipt must cover steps. A receipt covers all steps or none, so one step
// without evidence is enough. A TaskRun that carries nothing needs no receipt, but uses one if there is a
// report.
func (p *placement) receivable() bool {
	if !p.receipts || p.record.provesReceipt() {
		return false
	}
	if !p.anyCarrier() {
		return p.reported() || !p.carriesNothing()
	}
	return p.bare > 0
}

// reported reports whether the caller read the status of the pod.
func (p *placement) reported() bool { return p.facts.Pod != nil && p.facts.Pod.Reported != nil }

// anyCarrier reports whether any step left signing material, or at least the reason why it is unsigned.
func (p *placement) anyCarrier() bool {
	return slices.ContainsFunc(p.steps, func(s *step) bool { return len(s.carriers) > 0 })
}

// uncovered adds the check for a TaskRun in which no step left signing material.
func (p *placement) uncovered() {
	inResults := slices.ContainsFunc(p.tr.Status.Results,
		func(r v1.TaskRunResult) bool { return signing.IsReserved(r.Name) })
	switch {
	case inResults:
		p.found.add(Check{
			ID: CheckCoverage, Status: Unknown, Expected: "evidence in the steps' termination messages",
			Got:     "signing material in status.results alone",
			Message: "the steps' messages are gone, and status.results alone does not prove exit codes and steps",
		})
	case p.carriesNothing():
		p.found.noResults = true
		p.found.add(Check{ID: CheckCoverage, Status: Note, Message: "the TaskRun declares no results and carries none"})
	default:
		message := "no step left evidence: signing was off when the TaskRun ran, or someone removed all of it"
		if by := p.tr.Spec.ManagedBy; by != nil && *by != TektonController {
			message = fmt.Sprintf("the TaskRun is managed by %q, whose pods are not signed", *by)
		} else if !slices.ContainsFunc(p.steps, func(s *step) bool { return !p.exempt(s) }) {
			message = "every step was ended before it could sign"
		} else if pod := p.facts.Pod; pod != nil && pod.Unsigned != "" {
			message = "no step left evidence; by its annotation, the pod does not sign: " + pod.Unsigned
		}
		p.found.add(Check{
			ID: CheckCoverage, Status: Missing, Expected: "evidence of every step", Got: "evidence of no step", Message: message,
		})
	}
}

// carriesNothing reports whether the TaskRun has no results and declares none.
func (p *placement) carriesNothing() bool {
	for _, spec := range []*v1.TaskSpec{p.tr.Spec.TaskSpec, p.tr.Status.TaskSpec} {
		if spec != nil && len(spec.Results) > 0 {
			return false
		}
	}
	status := &p.tr.Status
	if len(status.Steps) == 0 && p.succeeded() && p.declaresStepResults() {
		return false // someone removed the steps: a TaskRun that succeeded had steps
	}
	if len(status.Results) > 0 || !emptyArtifacts(status.Artifacts) {
		return false
	}
	for i := range status.Steps {
		s := &status.Steps[i]
		if len(s.Results)+len(s.Inputs)+len(s.Outputs) > 0 {
			return false
		}
	}
	return !slices.ContainsFunc(p.steps, func(s *step) bool { return s.broken || len(s.results) > 0 })
}

// podEndedReasons are the reasons with which a TaskRun fails after its pod ended by itself, with every
// container.
var podEndedReasons = []string{
	string(v1.TaskRunReasonStepFailed), string(v1.TaskRunReasonStepOOM), string(v1.TaskRunReasonFailedValidation),
	ReasonVerificationFailed,
}

// brokenPodReasons are the reasons with which a TaskRun fails if containers of its pod may never have run to
// their end.
var brokenPodReasons = []string{
	string(v1.TaskRunReasonPodEvicted), string(v1.TaskRunReasonInitContainerOOM),
	string(v1.TaskRunReasonInitContainerFailed),
	string(v1.TaskRunReasonSidecarOOM), string(v1.TaskRunReasonSidecarFailed), string(v1.TaskRunReasonFailed),
	string(v1.TaskRunReasonFailureIgnored), string(v1.TaskRunReasonStopSidecarFailed), "PodAdmissionFailed",
}

// bareStep adds a check for a step without evidence.
func (p *placement) bareStep(s *step) {
	if p.receipts {
		p.found.add(p.coveredByReceipt(s))
		return
	}
	c := Check{
		ID: CheckCoverage, Status: Missing, Step: s.state.Container, Expected: "evidence of the step", Got: "none",
		Message: "the step left no evidence",
	}
	if s.state.Terminated == nil && !p.succeeded() && p.failedByTekton() {
		c.Status, c.Expected, c.Got = Unknown, "a step that has ended, as its pod has", "a step without end"
		c.Message = "the TaskRun does not show how the step ended, nor what it left: someone removed it, or Tekton " +
			"never saw it"
	} else if reason, ok := s.unsigned(); ok {
		c.Got = signing.UnsignedManifest(reason).Value
		c.Message = "the step could not sign; its own reason: " + reason.Explain()
		p.found.unsigned = cmp.Or(p.found.unsigned, reason)
	} else if len(p.units) > 0 {
		c.Status = Fail
		c.Message = "the step left no evidence although others did: someone removed it"
		if p.legacySkips(s) {
			c.Status = Unknown
			c.Message = "Tekton's own signer leaves none for a step that was skipped or stopped: " +
				"it cannot be proven whether someone removed it"
		}
	}
	p.found.add(c)
}

// coveredByReceipt adds a note with the reason why a step left no evidence.
func (p *placement) coveredByReceipt(s *step) Check {
	message := "the step left no evidence"
	if reason, ok := s.unsigned(); ok {
		message = "the step could not sign: " + reason.Explain()
	}
	return Check{ID: CheckCoverage, Status: Note, Step: s.state.Container,
		Message: message + "; the receipt has to cover it"}
}

func (p *placement) coverageMessage() string {
	message := fmt.Sprintf("%d of %s left evidence", len(p.units), count(len(p.steps), "step"))
	if len(p.units) < len(p.steps) {
		message += ", the others were ended before they could"
	}
	return message
}

// livePod compares the TaskRun with the pod that the caller saw. Stock Tekton takes any pod with the right
// name, so the pod's owner must be this very TaskRun.
func (p *placement) livePod() {
	p.podOfThisAttempt()
	pod := p.facts.Pod
	gone := Check{ID: CheckPod, Status: Note, Expected: "pod " + p.tr.Status.PodName, Got: "no such pod"}
	if p.facts.RequirePod && !p.record.proves() {
		gone.Status = Unknown
	}
	switch {
	case p.tr.Status.PodName == "":
	case pod == nil && p.facts.RequirePod && !p.record.proves():
		gone.Got, gone.Message = "nothing: the pod was not read", "the live pod was not compared"
		p.found.add(gone)
	case pod == nil:
	case !pod.Found:
		gone.Message = "the pod is gone, so that its UID and its owner cannot be compared with the evidence"
		p.found.add(gone)
	case pod.ControllerUID != p.tr.UID:
		p.found.fail(CheckPod, fmt.Sprintf("pod %s with the controller %s", p.tr.Status.PodName, p.tr.UID),
			fmt.Sprintf("controller %q", pod.ControllerUID),
			"the live pod does not belong to this TaskRun: someone put another pod in its place")
	}
}
