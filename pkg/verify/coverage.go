// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"fmt"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/kmeta"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TektonController is the value of spec.managedBy that means Tekton itself, as does leaving it out.
const TektonController = "tekton.dev/pipeline"

// coverage checks that every step left evidence. It reports whether there is any to verify.
func (j *judge) coverage() bool {
	var bare []*step // steps without evidence that should have some
	for _, s := range j.steps {
		_, unsigned := s.unsigned()
		switch {
		case len(s.carriers) > 0 && !unsigned:
			j.units = append(j.units, &unit{step: s})
		case unsigned || !s.broken && !j.exempt(s):
			bare = append(bare, s)
		}
	}
	if !j.anyCarrier() {
		if !j.archived() {
			j.uncovered()
		}
		return false
	}
	for _, s := range bare {
		j.bareStep(s)
	}
	j.pass(CheckCoverage, j.coverageMessage())
	return len(j.units) > 0
}

// anyCarrier reports whether any step left signing material, be it only the reason why it is unsigned.
func (j *judge) anyCarrier() bool {
	return slices.ContainsFunc(j.steps, func(s *step) bool { return len(s.carriers) > 0 })
}

// uncovered says what it means that no step left anything.
func (j *judge) uncovered() {
	inResults := slices.ContainsFunc(j.tr.Status.Results, func(r v1.TaskRunResult) bool { return signing.IsReserved(r.Name) })
	switch {
	case inResults:
		j.add(Check{
			ID: CheckCoverage, Status: Unknown, Expected: "evidence in the steps' termination messages",
			Got:     "signing material in status.results alone",
			Message: "the steps' messages are gone, and what is left in status.results says nothing about exit codes and steps",
		})
	case j.carriesNothing():
		j.noResults = true
		j.add(Check{ID: CheckCoverage, Status: Note, Message: "the TaskRun declares no results and carries none"})
	default:
		message := "no step left evidence: signing was off when the TaskRun ran, or somebody removed all of it"
		if by := j.tr.Spec.ManagedBy; by != nil && *by != TektonController {
			message = fmt.Sprintf("the TaskRun is managed by %q, whose pods are not signed", *by)
		} else if !slices.ContainsFunc(j.steps, func(s *step) bool { return !j.exempt(s) }) {
			message = "every step was ended before it could sign"
		} else if pod := j.facts.Pod; pod != nil && pod.Unsigned != "" {
			message = "no step left evidence; the pod says that it does not sign: " + pod.Unsigned
		}
		j.add(Check{
			ID: CheckCoverage, Status: Missing, Expected: "evidence of every step", Got: "evidence of no step", Message: message,
		})
	}
}

// carriesNothing reports whether the TaskRun has no results and was not meant to have any.
func (j *judge) carriesNothing() bool {
	for _, spec := range []*v1.TaskSpec{j.tr.Spec.TaskSpec, j.tr.Status.TaskSpec} {
		if spec != nil && len(spec.Results) > 0 {
			return false
		}
	}
	status := &j.tr.Status
	if len(status.Steps) == 0 && j.succeeded() && j.declaresStepResults() {
		return false // somebody took the steps out: one that succeeded had some
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
	return !slices.ContainsFunc(j.steps, func(s *step) bool { return s.broken || len(s.results) > 0 })
}

// declaresStepResults reports whether a step of the Task was meant to have results.
func (j *judge) declaresStepResults() bool {
	for _, spec := range []*v1.TaskSpec{j.tr.Spec.TaskSpec, j.tr.Status.TaskSpec} {
		if spec != nil && slices.ContainsFunc(spec.Steps, func(s v1.Step) bool { return len(s.Results) > 0 }) {
			return true
		}
	}
	return false
}

// podEndedReasons are those with which a TaskRun fails once its pod has ended by itself, and every container with it.
var podEndedReasons = []string{
	string(v1.TaskRunReasonStepFailed), string(v1.TaskRunReasonStepOOM), string(v1.TaskRunReasonFailedValidation),
	ReasonVerificationFailed,
}

// brokenPodReasons are those with which a TaskRun fails whose pod may have had containers that never ran to an end.
var brokenPodReasons = []string{
	string(v1.TaskRunReasonPodEvicted), string(v1.TaskRunReasonInitContainerOOM), string(v1.TaskRunReasonInitContainerFailed),
	string(v1.TaskRunReasonSidecarOOM), string(v1.TaskRunReasonSidecarFailed), string(v1.TaskRunReasonFailed),
	string(v1.TaskRunReasonFailureIgnored), string(v1.TaskRunReasonStopSidecarFailed), "PodAdmissionFailed",
}

// failedByTekton reports whether the TaskRun failed for a reason that Tekton, or the add-on, gives to TaskRuns with steps. A reason
// that somebody made up explains nothing.
func (j *judge) failedByTekton() bool {
	return slices.Contains(slices.Concat(podEndedReasons, brokenPodReasons, stoppedReasons), j.failureReason())
}

// exempt reports whether nothing is expected of a step: one that was ended before it could sign. Only a TaskRun that
// failed has such steps.
func (j *judge) exempt(s *step) bool {
	reason := j.failureReason()
	if !j.failedByTekton() {
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

// bareStep adds a check for a step without evidence.
func (j *judge) bareStep(s *step) {
	c := Check{
		ID: CheckCoverage, Status: Missing, Step: s.state.Container, Expected: "evidence of the step", Got: "none",
		Message: "the step left no evidence",
	}
	if s.state.Terminated == nil && !j.succeeded() && j.failedByTekton() {
		c.Status, c.Expected, c.Got = Unknown, "a step that has ended, as its pod has", "a step without end"
		c.Message = "the TaskRun does not say how the step ended, nor what it left: somebody removed it, or nobody saw it"
	} else if reason, ok := s.unsigned(); ok {
		c.Got = signing.UnsignedManifest(reason).Value
		c.Message = "the step's pod says that it could not sign: " + reason.Explain()
		j.unsigned = cmp.Or(j.unsigned, reason)
	} else if len(j.units) > 0 {
		c.Status = Fail
		c.Message = "the step left no evidence although others did: somebody removed it"
		if j.legacySkips(s) {
			c.Status = Unknown
			c.Message = "Tekton's own signer leaves none for a step that was skipped or stopped: nobody can tell whether somebody removed it"
		}
	}
	j.add(c)
}

func (j *judge) coverageMessage() string {
	message := fmt.Sprintf("%d of %s left evidence", len(j.units), count(len(j.steps), "step"))
	if len(j.units) < len(j.steps) {
		message += ", the others were ended before they could"
	}
	return message
}

// podName is how Tekton calls the pod of a TaskRun's current attempt. Long names are hashed.
func (j *judge) podName() string {
	suffix := "-pod"
	if n := len(j.tr.Status.RetriesStatus); n > 0 {
		suffix = fmt.Sprintf("-pod-retry%d", n)
	}
	return kmeta.ChildName(j.tr.Name, suffix)
}

// livePod compares what the caller saw of the pod. Stock Tekton takes whatever pod bears the name; so the pod's owner
// must be this very TaskRun.
func (j *judge) livePod() {
	j.podOfThisAttempt()
	pod := j.facts.Pod
	gone := Check{ID: CheckPod, Status: Note, Expected: "pod " + j.tr.Status.PodName, Got: "no such pod"}
	if j.facts.RequirePod && !j.record.proves() {
		gone.Status = Unknown
	}
	switch {
	case j.tr.Status.PodName == "":
	case pod == nil && j.facts.RequirePod && !j.record.proves():
		gone.Got, gone.Message = "nothing: nobody looked", "the live pod was not compared"
		j.add(gone)
	case pod == nil:
	case !pod.Found:
		gone.Message = "the pod is gone, so that its UID and its owner cannot be compared with the evidence"
		j.add(gone)
	case pod.ControllerUID != j.tr.UID:
		j.fail(CheckPod, fmt.Sprintf("pod %s with the controller %s", j.tr.Status.PodName, j.tr.UID),
			fmt.Sprintf("controller %q", pod.ControllerUID),
			"the live pod does not belong to this TaskRun: somebody put another one in its place")
	}
}
