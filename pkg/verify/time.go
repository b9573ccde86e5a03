// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"time"
)

// verifyTime checks that something happened while the TaskRun ran. The times in the TaskRun can be written by whoever writes its
// status: they refute, and never prove.
func (j *judge) verifyTime(u *unit, at time.Time, event string) {
	created, end := j.tr.CreationTimestamp.Time, j.now
	completed := j.tr.Status.CompletionTime
	if completed != nil {
		end = completed.Time
	}
	earliest, latest := created.Add(-runTolerance), end.Add(j.v.skew)
	if at.Before(earliest) || completed != nil && at.After(latest) {
		j.refute(u, CheckTime, window(earliest, latest), at.UTC().Format(timeFormat), event+" while the TaskRun did not run")
		return
	}
	if j.isFuture(at, event) {
		return
	}
	start := created
	if started := j.tr.Status.StartTime; started != nil {
		start = started.Time
	}
	if at.Before(start.Add(-runTolerance)) || at.After(end.Add(runTolerance)) {
		j.add(Check{
			ID: CheckTime, Status: Warn, Step: u.step.state.Container,
			Expected: window(start, end), Got: at.UTC().Format(timeFormat),
			Message: event + " outside of the run: compare the clocks of the cluster",
		})
	}
}

// isFuture reports whether something that has happened did so later than the clock says that it is, and doubts the clock then:
// nobody can have a token from the future, so that this neither proves nor refutes.
func (j *judge) isFuture(at time.Time, event string) bool {
	latest := j.now.Add(j.v.skew)
	if !at.After(latest) {
		return false
	}
	j.clockBehind = true
	j.add(Check{
		ID: CheckTime, Status: Unknown, Expected: "before " + latest.UTC().Format(timeFormat), Got: at.UTC().Format(timeFormat),
		Message: event + " later than the clock here says that it is: set this clock and verify again",
	})
	return true
}

// window shows a span of time.
func window(from, to time.Time) string {
	return fmt.Sprintf("between %s and %s", from.UTC().Format(timeFormat), to.UTC().Format(timeFormat))
}
