// SPDX-License-Identifier: Apache-2.0

package chains

import "time"

// Action is what the gate does with an object.
type Action string

// The actions.
const (
	Nothing  Action = ""
	Place    Action = "place"    // the hold, the marker and the finalizer
	Release  Action = "release"  // remove the hold; the finalizer stays while Chains could miss the object
	Refuse   Action = "refuse"   // keep the hold for good, and let the object be deleted
	Forget   Action = "forget"   // remove only the finalizer
	Withdraw Action = "withdraw" // remove everything: the gate is off
)

// Decision is an action, or the time of the next look.
type Decision struct {
	Action Action
	Why    string    // the reason of Refuse
	Again  time.Time // when to decide again if nothing changes before; zero: only after a change
}

// Decide is the gate's table of states: it returns what to do with an object. on is whether the gate is on
// for its namespace.
func Decide(r Run, on bool, now time.Time) Decision {
	switch {
	case !on:
		return r.decideOff()
	case !r.Complete:
		return r.decideRunning()
	}
	end := r.deadline()
	overdue := !end.IsZero() && !now.Before(end)
	switch r.State() {
	case Held:
		return r.decideHeld(end, overdue)
	case Released:
		return r.decideReleased(end, overdue)
	case Refused:
		if r.Verdict == Good {
			return Decision{Action: Release} // judged later, or again
		}
	case None: // completed without the gate: Chains has it already
	}
	return r.forgetIfKept()
}

// decideOff releases undecided objects. A refused object stays refused, because it was never verified.
func (r Run) decideOff() Decision {
	if r.State() == Held {
		return Decision{Action: Withdraw}
	}
	return r.forgetIfKept()
}

// decideRunning holds an object that is not complete. An object that is being deleted never completes,
// because Tekton ignores it.
func (r Run) decideRunning() Decision {
	switch {
	case !r.Deleted.IsZero():
		return r.forgetIfKept()
	case r.State() == Held && r.held():
		return Decision{}
	}
	return Decision{Action: Place}
}

func (r Run) decideHeld(end time.Time, overdue bool) Decision {
	switch {
	case r.Verdict == Good:
		return Decision{Action: Release}
	case r.Verdict == Bad:
		return Decision{Action: Refuse, Why: r.Why}
	case overdue:
		return Decision{Action: Refuse, Why: "it was not judged in time"}
	}
	return Decision{Again: end}
}

// decideReleased waits until Chains cannot miss the object any more. Until then, it sets the hold again if
// the verdict changes.
func (r Run) decideReleased(end time.Time, overdue bool) Decision {
	_, answered := r.Annotations[Hold]
	switch {
	case !answered && r.Verdict == Bad:
		return Decision{Action: Refuse, Why: r.Why}
	case !r.has(Finalizer):
		return Decision{}
	case answered || overdue || r.watchedByChains():
		return Decision{Action: Forget}
	}
	return Decision{Again: end}
}

// watchedByChains reports whether the finalizer of Chains makes ours unnecessary. It does not during a
// deletion: Chains may already have seen the held object and be about to remove its finalizer.
func (r Run) watchedByChains() bool { return r.has(chainsFinalizers[r.Kind]) && r.Deleted.IsZero() }

func (r Run) forgetIfKept() Decision {
	if r.has(Finalizer) {
		return Decision{Action: Forget}
	}
	return Decision{}
}
