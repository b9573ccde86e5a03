// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"time"
)

// TimeFormat shows times to people: RFC 3339 in UTC.
const TimeFormat = time.RFC3339

const (
	// RunTolerance is how far the time of an identity may be outside of the run: the API server's clock wrote
	// both, but it stores whole seconds, and several of them need not agree.
	RunTolerance = 60 * time.Second
	// RotationTolerance is how long after its last sighting, and before its first, a key may have signed: keys
	// are polled hourly.
	RotationTolerance = time.Hour
)

// Run is what an identity is judged against: the TaskRun as it is shown, the time, and what the caller
// allows. Its times can be written by whoever writes the TaskRun's status: they refute, and never prove.
type Run struct {
	Namespace, Name string // of the TaskRun
	Account         string // name of its service account
	Pod             string // name of its pod, as the status says
	PodUID          string // of the pod that the evidence names, empty where it names none

	Created   time.Time
	Started   time.Time // zero if the status does not say
	Completed time.Time // zero if the status does not say
	Ended     time.Time // when the step ended, as the status says

	Now     time.Time
	Skew    time.Duration // how far the clocks may be apart
	Live    bool          // the API server itself handed out the TaskRun, and may be asked
	PodGone bool          // somebody looked, and the pod is not there
	// signatures of certificates that were followed for the object; a backend that follows some counts them
	Links *int
}

// ServiceAccount returns the subject of the service account, as Kubernetes names it.
func (r Run) ServiceAccount() string { return "system:serviceaccount:" + r.Namespace + ":" + r.Account }

// Within checks that something happened while the TaskRun ran. event says what, in the words of a sentence's beginning.
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

// Future doubts the clock if something that has happened did so later than it says that it is: nobody can
// have a token from the future, so that this neither proves nor refutes.
func (r Run) Future(at time.Time, event string) []Check {
	latest := r.Now.Add(r.Skew)
	if !at.After(latest) {
		return nil
	}
	return []Check{Doubted(Time, "before "+latest.UTC().Format(TimeFormat), at.UTC().Format(TimeFormat),
		event+" later than the local clock: set this clock and verify again")}
}

// Window shows a span of time.
func Window(from, to time.Time) string {
	return fmt.Sprintf("between %s and %s", from.UTC().Format(TimeFormat), to.UTC().Format(TimeFormat))
}
