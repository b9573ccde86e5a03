// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// step is one entry of status.steps with its message taken apart.
type step struct {
	state    *v1.StepState
	results  []result.RunResult // all entries of the message, carriers too
	carriers map[string]string  // by name
	broken   bool               // the message could not be read
	last     bool               // no other step follows
	// ended says that the message is no message of the step: Tekton's controller or the kubelet ended the step and wrote
	// plain text there.
	ended bool
}

// entries returns what the step emitted.
func (s *step) entries() []result.RunResult {
	var entries []result.RunResult
	for _, r := range s.results {
		if !signing.IsCarrier(r) {
			entries = append(entries, r)
		}
	}
	return entries
}

// unsigned returns the reason that the step gives for having no evidence.
func (s *step) unsigned() (signing.UnsignedReason, bool) {
	if len(s.carriers) != 1 {
		return "", false
	}
	return signing.ParseUnsignedManifest(s.carriers[signing.CarrierManifest])
}

// readSteps takes every step's message apart.
func (j *judge) readSteps() {
	if j.stepsOfEarlierAttempt() {
		j.add(Check{
			ID: CheckMessage, Status: Note,
			Message: "status.steps are those of the attempt before: the last one got no pod",
		})
		return
	}
	for i := range j.tr.Status.Steps {
		j.steps = append(j.steps, j.readStep(&j.tr.Status.Steps[i]))
	}
	j.checkDeclaredNames()
	switch {
	case j.restored:
		j.add(Check{ID: CheckMessage, Status: Note, Message: restoredCaveat})
		j.caveats = append(j.caveats, restoredCaveat)
	case len(j.steps) > 0:
		j.pass(CheckMessage, fmt.Sprintf("the messages of %s are as Tekton stores them", count(len(j.steps), "step")))
	}
	j.pass(CheckReserved, "no result bears the name of signing material")
}

// stepsOfEarlierAttempt reports whether the TaskRun ended between two attempts: then Tekton leaves the steps of the
// attempt that it has already archived.
func (j *judge) stepsOfEarlierAttempt() bool {
	s := &j.tr.Status
	if s.PodName != "" || len(s.RetriesStatus) == 0 || len(s.Steps) == 0 {
		return false
	}
	return equality.Semantic.DeepEqual(s.Steps, s.RetriesStatus[len(s.RetriesStatus)-1].Steps)
}

func (j *judge) readStep(state *v1.StepState) *step {
	all := j.tr.Status.Steps
	last := state == &all[len(all)-1]
	if restored, ok := j.restore(state); ok {
		state, j.restored = restored, true
	}
	s := &step{state: state, carriers: map[string]string{}, last: last}
	j.checkState(state)
	if state.Terminated == nil {
		return s
	}
	if j.endedFromOutside(state) {
		s.ended = true
		return s
	}
	results, err := j.message(state)
	if err != nil {
		s.broken = true
		j.add(Check{
			ID: CheckMessage, Status: Fail, Step: state.Container,
			Expected: "a termination message as Tekton stores it", Got: err.Error(),
			Message: j.brokenMessage(state.Terminated.Message),
		})
		return s
	}
	j.checkStepResultNames(state)
	s.results = results
	for _, r := range results {
		switch {
		case signing.IsCarrier(r):
			s.carriers[r.Key] = r.Value
		case signing.IsReserved(r.Key):
			j.add(Check{
				ID: CheckReserved, Status: Fail, Step: state.Container, Result: r.Key,
				Expected: "no entry of this name and type", Got: fmt.Sprintf("an entry of type %d", r.ResultType),
				Message: "the name is reserved for signing material",
			})
		}
	}
	j.checkLogged(s)
	return s
}

// textReasons are the reasons with which a container runtime or the kubelet puts plain text into the place of a message.
var textReasons = []string{"StartError", "ContainerCannotRun", "ContainerStatusUnknown"}

// endedFromOutside reports whether the step's message is the text of whoever ended it. Only a TaskRun that failed can have such a
// step: Tekton's controller, where it ends a run, gives it the TaskRun's own reason and a text of its own.
func (j *judge) endedFromOutside(state *v1.StepState) bool {
	t, reason := state.Terminated, j.failureReason()
	switch {
	case strings.HasPrefix(t.Message, "["), strings.HasPrefix(t.Message, tekton.CompressedPrefix):
		return false
	case slices.Contains(stoppedReasons, reason) && t.Reason == reason:
		return t.ExitCode == 1 && t.Message == fmt.Sprintf("Step %s terminated as pod %s is terminated", state.Name, j.tr.Status.PodName)
	}
	return slices.Contains(textReasons, t.Reason) && j.failedByTekton() && t.ExitCode != 0
}

// checkState refuses a step in two states at once: readers would choose.
func (j *judge) checkState(state *v1.StepState) {
	n := 0
	for _, is := range []bool{state.Waiting != nil, state.Running != nil, state.Terminated != nil} {
		if is {
			n++
		}
	}
	if n > 1 {
		j.add(Check{
			ID: CheckMessage, Status: Fail, Step: state.Container, Expected: "one state of the step", Got: fmt.Sprintf("%d of them", n),
			Message: "the step is shown in two states at once: Tekton writes one",
		})
	}
}

// checkStepResultNames refuses step results with the name of signing material: those that travel by log stand in no message.
func (j *judge) checkStepResultNames(state *v1.StepState) {
	for _, r := range state.Results {
		if signing.IsReserved(r.Name) {
			j.add(Check{
				ID: CheckReserved, Status: Fail, Step: state.Container, Result: r.Name,
				Expected: "no step result of this name", Got: "a step result", Message: "the name is reserved for signing material",
			})
		}
	}
}

// checkDeclaredNames refuses a Task that declares a result with the name of signing material.
func (j *judge) checkDeclaredNames() {
	var declared []v1.TaskResult
	for _, spec := range []*v1.TaskSpec{j.tr.Spec.TaskSpec, j.tr.Status.TaskSpec} {
		if spec != nil {
			declared = append(declared, spec.Results...)
		}
	}
	seen := map[string]bool{}
	for _, r := range declared {
		if signing.IsReserved(r.Name) && !seen[r.Name] {
			seen[r.Name] = true
			j.add(Check{
				ID: CheckReserved, Status: Fail, Result: r.Name,
				Expected: "no declared result of this name", Got: "a declared result",
				Message: "the name is reserved for signing material: rename the Task's result",
			})
		}
	}
}

// count returns "no steps", "1 step", "2 steps".
func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
