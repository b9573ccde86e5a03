// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// State is whether messages fit.
type State string

// The states, the worst first.
const (
	Lost    State = "lost"     // the results alone do not fit: the kubelet cuts them, and Tekton loses them
	Never   State = "never"    // no step can sign, whatever the results: the pod is not injected, or refused in enforce
	TooLong State = "too-long" // results and evidence do not fit together: the results go without evidence
	Unknown State = "unknown"  // it could not be found out
	Tight   State = "tight"    // it depends on a few bytes that differ from run to run
	Fits    State = "fits"
)

// States lists every state, the worst first.
func States() []State { return []State{Lost, Never, TooLong, Unknown, Tight, Fits} }

func worse(a, b State) State {
	order := States()
	return order[min(slices.Index(order, a), slices.Index(order, b))]
}

// Ok reports whether the messages fit.
func (s State) Ok() bool { return s == Fits || s == Tight }

// Known reports whether it could be found out.
func (s State) Known() bool { return s != Unknown && s != "" }

// Effect is what happens to the TaskRuns of a Task.
type Effect string

// The effects, the worst first.
const (
	Loses     Effect = "lost"     // results are lost, as they would be without signing
	Fails     Effect = "fails"    // where results are enforced, the TaskRun fails
	Uncertain Effect = "unknown"  // it could not be found out
	Unsigned  Effect = "unsigned" // the TaskRun stays UNSIGNED
	Receipt   Effect = "receipt"  // the TaskRun is verified by its receipt
	Close     Effect = "close"    // the TaskRun is signed, unless a few bytes are missing
	Signs     Effect = "signed"
)

// Effects lists every effect, the worst first.
func Effects() []Effect { return []Effect{Loses, Fails, Uncertain, Unsigned, Receipt, Close, Signs} }

// effect returns what a state means in a mode.
func (e *Environment) effect(mode settings.Enforcement, s State) Effect {
	switch {
	case s == Lost:
		return Loses
	case !s.Known():
		return Uncertain
	case !e.leavesEvidence():
		return Receipt
	case s == Fits:
		return Signs
	case s == Tight:
		return Close
	case e.Settings.ReceiptsIn(mode):
		return Receipt
	case mode == settings.Enforce:
		return Fails
	}
	return Unsigned
}
