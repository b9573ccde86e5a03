// SPDX-License-Identifier: Apache-2.0

package chains

import "time"

// Action is what the gate does with an object.
type Action string

// The actions.
const (
	Nothing  Action = ""
	Place    Action = "place"    // the hold, the marker and the finalizer
	Release  Action = "release"  // take the hold away; the finalizer stays while Chains could miss the object
	Refuse   Action = "refuse"   // keep the hold for good, and let the object be deleted
	Forget   Action = "forget"   // take only the finalizer away
	Withdraw Action = "withdraw" // take everything away: the gate is off
)

// Decision is an action, or when to look again.
type Decision struct {
	Action Action
	Why    string    // the reason of Refuse
	Again  time.Time // if nothing changes before; zero: only after a change
}

// Decide is the gate's table of states: what to do with an object, with the gate on or off for its namespace.
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

// decideOff undoes what is undecided. What was refused stays refused: nobody verified it.
func (r Run) decideOff() Decision {
	if r.State() == Held {
		return Decision{Action: Withdraw}
	}
	return r.forgetIfKept()
}

// decideRunning holds what is not complete. One that is being deleted never completes: Tekton does not look
// at it any more.
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

// decideReleased waits until Chains cannot miss the object any more. Until then, a verdict that turns puts
// the hold back.
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

// watchedByChains reports whether the finalizer of Chains does what ours would do. Not during a deletion:
// then Chains may have looked at the held object, and be about to take its finalizer away.
func (r Run) watchedByChains() bool { return r.has(chainsFinalizers[r.Kind]) && r.Deleted.IsZero() }

func (r Run) forgetIfKept() Decision {
	if r.has(Finalizer) {
		return Decision{Action: Forget}
	}
	return Decision{}
}
