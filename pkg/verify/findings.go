// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
)

// findings collects what the stages find out about one TaskRun: the checks, their caps and their order. It
// alone decides which verdict follows from the checks, and which check decided. The zero value is empty, and
// its verdict is UNSIGNED.
type findings struct {
	checks     []Check
	more       map[kindOfCheck]int // how many of a kind there are
	caveats    []string
	missingKey string                 // ID of the last key that the trust bundle lacked
	unsigned   signing.UnsignedReason // the reason of the first step without evidence

	budget *Budget // of the texts; nil if they are not counted

	running   bool // the TaskRun is not completed
	noResults bool // it declares no results and carries none
	proven    bool // every stage ran: without a failed check the verdict is VERIFIED
}

// kindOfCheck groups the checks that are counted together.
type kindOfCheck struct {
	id     CheckID
	status Status
}

// maxOfKind is how many checks of one id and status are reported one by one: hostile objects can have any
// number of them.
const maxOfKind = 64

func (f *findings) add(checks ...Check) {
	if f.more == nil {
		f.more = map[kindOfCheck]int{}
	}
	for _, c := range checks {
		kind := kindOfCheck{c.ID, c.Status}
		f.more[kind]++
		if f.more[kind] <= maxOfKind {
			f.checks = append(f.checks, f.budget.shorten(c))
		}
	}
}

// fail adds a failed check. Every failure has both what was expected and what was found.
func (f *findings) fail(id CheckID, expected, got, message string) {
	f.add(check.Refuted(id, expected, got, message))
}

// refute adds a failed check about a unit.
func (f *findings) refute(u *unit, id CheckID, expected, got, message string) {
	f.addOf(u, check.Refuted(id, expected, got, message))
}

// doubt adds a check about a unit that cannot be decided with what is known.
func (f *findings) doubt(u *unit, id CheckID, expected, got, message string) {
	f.addOf(u, check.Doubted(id, expected, got, message))
}

// addOf adds checks about a unit.
func (f *findings) addOf(u *unit, checks ...Check) {
	for _, c := range checks {
		c.Step = u.step.state.Container
		f.add(c)
	}
}

// pass adds a passed check unless something else is already known about it.
func (f *findings) pass(id CheckID, message string) {
	if !slices.ContainsFunc(f.checks, func(c Check) bool { return c.ID == id && c.Status != Note && c.Status != Warn }) {
		f.add(check.Passed(id, message))
	}
}

// caveat adds statements about what is not proven.
func (f *findings) caveat(caveats ...string) { f.caveats = append(f.caveats, caveats...) }

// failed reports whether a check with this id failed.
func (f *findings) failed(id CheckID) bool { return f.have(Fail, id) }

// have reports whether there is a check with this status and one of ids. Without ids, any check with this
// status counts.
func (f *findings) have(status Status, ids ...CheckID) bool {
	return slices.ContainsFunc(f.checks, func(c Check) bool {
		return c.Status == status && (len(ids) == 0 || slices.Contains(ids, c.ID))
	})
}

// verdict returns the verdict that follows from the checks.
func (f *findings) verdict() Verdict {
	verdict := Verified
	switch {
	case f.noResults:
		verdict = NoResults
	case !f.proven:
		verdict = Unsigned
	}
	for _, c := range f.checks {
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

// close ends the list: it adds how many checks were left out, and sorts all checks.
func (f *findings) close() {
	kinds := slices.SortedFunc(maps.Keys(f.more), func(a, b kindOfCheck) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.status, b.status))
	})
	for _, kind := range kinds {
		if n := f.more[kind]; n > maxOfKind {
			f.checks = append(f.checks, Check{
				ID: kind.id, Status: Note, Message: fmt.Sprintf("%d more like these", n-maxOfKind),
			})
		}
	}
	order := check.Order()
	slices.SortStableFunc(f.checks, func(a, b Check) int {
		return cmp.Compare(slices.Index(order, a.ID), slices.Index(order, b.ID))
	})
}

// deciding maps each verdict to the status of the checks that lead to it.
var deciding = map[Verdict]Status{Failed: Fail, Indeterminate: Unknown, Unsigned: Missing}

// Decided returns the check that decided the verdict, the first of those that lead to it. ok is false if no
// check decided it.
func (r Result) Decided() (decided Check, ok bool) { return decidedBy(r.Checks, r.Verdict) }

func decidedBy(checks []Check, verdict Verdict) (Check, bool) {
	status, ok := deciding[verdict]
	if !ok {
		return Check{}, false
	}
	i := slices.IndexFunc(checks, func(c Check) bool { return c.Status == status })
	if i < 0 {
		return Check{}, false
	}
	return checks[i], true
}

// reason returns the id of the check that decided, or a more specific reason. Call it after close.
func (f *findings) reason() (reason, message string) {
	verdict := f.verdict()
	c, ok := decidedBy(f.checks, verdict)
	if !ok {
		return "", ""
	}
	switch {
	case verdict == Indeterminate && f.running:
		return ReasonRunning, c.Message
	case verdict == Indeterminate && c.ID == CheckTime: // only a clock that is behind leaves a time undecided
		return ReasonClockBehind, c.Message
	case verdict == Unsigned && f.unsigned != "":
		return string(f.unsigned), c.Message
	}
	return string(c.ID), c.Message
}
