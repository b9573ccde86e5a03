// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// InspectedStep is one entry of status.steps, parsed as verification parses it. Nothing in it is verified.
type InspectedStep struct {
	State    *v1.StepState
	Entries  []result.RunResult // everything in the message, carriers too
	Carriers map[string]string  // the values of the carriers by name
	Ended    bool               // Tekton or the kubelet ended the step, and wrote the message
	Problems []Check            // why a verifier refuses the message
	run      run
	step     *step
}

// Inspect parses the steps of tr, at most as many as evidence can count, and returns how many it left out.
func Inspect(tr *v1.TaskRun) (steps []InspectedStep, omitted int) {
	r := newRun(tr)
	for i := range tr.Status.Steps {
		if i == maxSteps {
			return steps, len(tr.Status.Steps) - maxSteps
		}
		stage := stepReader{run: r, found: &findings{}}
		s := stage.readStep(&tr.Status.Steps[i])
		steps = append(steps, InspectedStep{
			State: s.state, Entries: s.results, Carriers: s.carriers, Ended: s.ended, Problems: stage.found.checks, run: r,
			step: s,
		})
	}
	return steps, 0
}

// Rebuild returns the unit that a verifier compares with what the step's evidence vouches for. It is made of
// the step as the TaskRun shows it now, and of header.
func (s InspectedStep) Rebuild(header signing.Header) (signing.Unit, error) {
	if s.State.Terminated == nil {
		return signing.Unit{}, fmt.Errorf("the step has not ended")
	}
	if tooLong(s.run, &findings{}) {
		return signing.Unit{}, fmt.Errorf("the TaskRun has names that are longer than Kubernetes allows")
	}
	return s.run.rebuild(&unit{step: s.step, header: header})
}
