// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// outcome is the last stage before the conclusion. It checks whether the condition Succeeded agrees with what
// the steps signed.
type outcome struct {
	run
	found *findings
	steps []*step
	units units
}

// check requires one outcome, and looks for steps that contradict it.
func (o outcome) check() {
	conditions := 0
	for _, c := range o.tr.Status.Conditions {
		if c.Type == apis.ConditionSucceeded {
			conditions++
		}
	}
	if c := o.tr.Status.GetCondition(apis.ConditionSucceeded); conditions != 1 || !c.IsTrue() && !c.IsFalse() {
		o.found.fail(CheckSucceeded, "one condition Succeeded that is True or False",
			fmt.Sprintf("%d, the first is %s", conditions, o.outcomeText()), "the outcome can be read in two ways")
		return
	}
	if o.succeeded() {
		o.contradictions()
	}
	o.found.pass(CheckSucceeded, o.outcomeText()+", which no step contradicts")
}

// contradictions looks for steps that a TaskRun which succeeded cannot have.
func (o outcome) contradictions() {
	add := func(s *step, got string) {
		o.found.add(Check{
			ID: CheckSucceeded, Status: Fail, Step: s.state.Container, Expected: "Succeeded=False", Got: o.outcomeText(),
			Message: got,
		})
	}
	for _, s := range o.steps {
		if s.state.Terminated == nil {
			add(s, "the step never ended, so the TaskRun cannot have succeeded")
		}
	}
	for _, u := range o.units {
		if u.read && u.header.Flags.Has(signing.FlagStepFails) {
			add(u.step, "the step signed that it failed the TaskRun")
		}
	}
}
