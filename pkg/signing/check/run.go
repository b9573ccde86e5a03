// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"time"
)

// TimeFormat shows times to people: RFC 3339 in UTC.
const TimeFormat = time.RFC3339

const (
	// RunTolerance is how far the time of an identity may be outside of the run. API servers set both times, but
	// they store whole seconds, and the clocks of several API servers can differ.
	RunTolerance = 60 * time.Second
	// RotationTolerance is how long after its last sighting, and before its first, a key may have signed. The
	// add-on polls keys hourly.
	RotationTolerance = time.Hour
)

// Run is what an identity is judged against: the TaskRun as it is now, the time, and what the caller allows.
// Anyone who can write the TaskRun's status can change its times, so they can refute but never prove.
type Run struct {
	Namespace, Name string // of the TaskRun
	Account         string // name of its service account
	Pod             string // name of its pod in the status
	PodUID          string // of the pod that the evidence names; empty if it names none

	Created   time.Time
	Started   time.Time // zero if the status does not contain it
	Completed time.Time // zero if the status does not contain it
	Ended     time.Time // when the step ended, by the status

	Now     time.Time
	Skew    time.Duration // how far the clocks may be apart
	Live    bool          // the TaskRun comes from the API server, which may be asked
	PodGone bool          // the caller looked for the pod, and it does not exist
	// Counts the certificate signatures that were verified for the object. A backend that verifies such
	// signatures adds to it.
	Links *int
}

// ServiceAccount returns the subject of the service account, as Kubernetes names it.
func (r Run) ServiceAccount() string { return "system:serviceaccount:" + r.Namespace + ":" + r.Account }

// Within checks that an event happened while the TaskRun ran. event describes it and begins the message.
func (r Run) Within(at time.Time, event string) []Check {
	end := r.Now
	if !r.Completed.IsZero() {
		end = r.Completed
	}
	earliest, latest := r.Created.Add(-RunTolerance), end.Add(r.Skew)
	if at.Before(earliest) || !r.Completed.IsZero() && at.After(latest) {
		return []Check{Refuted(Time, Window(earliest, latest), at.UTC().Format(TimeFormat),
			event+" while the TaskRun did not run")}
	}
	if future := r.Future(at, event); future != nil {
		return future
	}
	start := r.Created
	if !r.Started.IsZero() {
		start = r.Started
	}
	if at.Before(start.Add(-RunTolerance)) || at.After(end.Add(RunTolerance)) {
		return []Check{{
			ID: Time, Status: Warn, Expected: Window(start, end), Got: at.UTC().Format(TimeFormat),
			Message: event + " outside of the run: compare the clocks of the cluster",
		}}
	}
	return nil
}

// Future doubts the local clock if an event happened in the future by that clock. A token from the future
// cannot exist, so this neither proves nor refutes anything.
func (r Run) Future(at time.Time, event string) []Check {
	latest := r.Now.Add(r.Skew)
	if !at.After(latest) {
		return nil
	}
	return []Check{Doubted(Time, "before "+latest.UTC().Format(TimeFormat), at.UTC().Format(TimeFormat),
		event+" later than the local clock: set this clock and verify again")}
}

// Window formats a span of time.
func Window(from, to time.Time) string {
	return fmt.Sprintf("between %s and %s", from.UTC().Format(TimeFormat), to.UTC().Format(TimeFormat))
}
