// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// step is one entry of status.steps with its message parsed.
type step struct {
	state    *v1.StepState
	results  []result.RunResult // all entries of the message, carriers too
	carriers map[string]string  // by name
	broken   bool               // the message could not be read
	last     bool               // no other step follows
	// ended means that the message is not the step's own: Tekton's controller or the kubelet ended the step and
	// wrote plain text there.
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

// unsigned returns the step's own reason for having no evidence.
func (s *step) unsigned() (signing.UnsignedReason, bool) {
	if len(s.carriers) != 1 {
		return "", false
	}
	return signing.ParseUnsignedManifest(s.carriers[signing.CarrierManifest])
}

// stepReader is the stage read: it parses the steps' messages.
type stepReader struct {
	run
	found    *findings
	record   *recorded // nil unless its proof is good
	restored bool      // the only step's message was rebuilt from the status
}

// readSteps parses every step's message. restored means that the only message was rebuilt from the status.
func readSteps(r run, made *recorded, found *findings) (steps []*step, restored bool) {
	stage := stepReader{run: r, found: found, record: made}
	if r.stepsOfEarlierAttempt() {
		found.add(Check{
			ID: CheckMessage, Status: Note,
			Message: "status.steps are those of the previous attempt: the last one got no pod",
		})
		return nil, false
	}
	for i := range r.tr.Status.Steps {
		steps = append(steps, stage.readStep(&r.tr.Status.Steps[i]))
	}
	stage.checkDeclaredNames()
	switch {
	case stage.restored:
		found.add(Check{ID: CheckMessage, Status: Note, Message: restoredCaveat})
		found.caveat(restoredCaveat)
	case len(steps) > 0:
		found.pass(CheckMessage, fmt.Sprintf("the messages of %s are as Tekton stores them", count(len(steps), "step")))
	}
	found.pass(CheckReserved, "no result has the name of signing material")
	return steps, stage.restored
}

func (r *stepReader) readStep(state *v1.StepState) *step {
	all := r.tr.Status.Steps
	last := state == &all[len(all)-1]
	if restored, ok := r.restore(state); ok {
		state, r.restored = restored, true
	}
	s := &step{state: state, carriers: map[string]string{}, last: last}
	r.checkState(state)
	if state.Terminated == nil {
		return s
	}
	if r.endedFromOutside(state) {
		s.ended = true
		return s
	}
	results, err := r.message(state)
	if err != nil {
		s.broken = true
		r.found.add(Check{
			ID: CheckMessage, Status: Fail, Step: state.Container,
			Expected: "a termination message as Tekton stores it", Got: err.Error(),
			Message: r.brokenMessage(state.Terminated.Message),
		})
		return s
	}
	r.checkStepResultNames(state)
	s.results = results
	for _, e := range results {
		switch {
		case signing.IsCarrier(e):
			s.carriers[e.Key] = e.Value
		case signing.IsReserved(e.Key):
			r.found.add(Check{
				ID: CheckReserved, Status: Fail, Step: state.Container, Result: e.Key,
				Expected: "no entry of this name and type", Got: fmt.Sprintf("an entry of type %d", e.ResultType),
				Message: "the name is reserved for signing material",
			})
		}
	}
	r.checkLogged(s)
	return s
}

// textReasons are the reasons with which a container runtime or the kubelet writes plain text instead of a
// message.
var textReasons = []string{"StartError", "ContainerCannotRun", "ContainerStatusUnknown"}

// endedFromOutside reports whether Tekton or the kubelet ended the step and wrote its message. Only a TaskRun
// that failed can have such a step. When Tekton's controller ends a run, the step's reason is the TaskRun's
// own reason, and its text is Tekton's.
func (r *stepReader) endedFromOutside(state *v1.StepState) bool {
	t, reason := state.Terminated, r.failureReason()
	switch {
	case strings.HasPrefix(t.Message, "["), strings.HasPrefix(t.Message, tekton.CompressedPrefix):
		return false
	case slices.Contains(stoppedReasons, reason) && t.Reason == reason:
		return t.ExitCode == 1 && t.Message == fmt.Sprintf("Step %s terminated as pod %s is terminated", state.Name,
			r.tr.Status.PodName)
	}
	return slices.Contains(textReasons, t.Reason) && r.failedByTekton() && t.ExitCode != 0
}

// checkState refuses a step in two states at once, because readers could choose different ones.
func (r *stepReader) checkState(state *v1.StepState) {
	n := 0
	for _, is := range []bool{state.Waiting != nil, state.Running != nil, state.Terminated != nil} {
		if is {
			n++
		}
	}
	if n > 1 {
		r.found.add(Check{
			ID: CheckMessage, Status: Fail, Step: state.Container, Expected: "one state of the step",
			Got:     fmt.Sprintf("%d of them", n),
			Message: "the step is shown in two states at once: Tekton writes one",
		})
	}
}

// checkStepResultNames refuses step results with the name of signing material. It is needed because results
// that travel by log are in no message.
func (r *stepReader) checkStepResultNames(state *v1.StepState) {
	for _, shown := range state.Results {
		if signing.IsReserved(shown.Name) {
			r.found.add(Check{
				ID: CheckReserved, Status: Fail, Step: state.Container, Result: shown.Name,
				Expected: "no step result of this name", Got: "a step result", Message: "the name is reserved for signing material",
			})
		}
	}
}

// checkDeclaredNames refuses a Task that declares a result with the name of signing material.
func (r *stepReader) checkDeclaredNames() {
	var declared []v1.TaskResult
	for _, spec := range []*v1.TaskSpec{r.tr.Spec.TaskSpec, r.tr.Status.TaskSpec} {
		if spec != nil {
			declared = append(declared, spec.Results...)
		}
	}
	seen := map[string]bool{}
	for _, d := range declared {
		if signing.IsReserved(d.Name) && !seen[d.Name] {
			seen[d.Name] = true
			r.found.add(Check{
				ID: CheckReserved, Status: Fail, Result: d.Name,
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
