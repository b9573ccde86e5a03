// SPDX-License-Identifier: Apache-2.0

package verify

import "slices"

// Only two things prove to which TaskRun a pod belongs: the owner of the live pod, and the add-on's record of
// it. The evidence holds the TaskRun's UID, but the pod itself wrote it there: a later TaskRun of the same
// name can sign for the UID of the earlier one.

// WithUnrecorded accepts evidence even if neither a live pod nor the add-on's record proves that the pod was
// the TaskRun's. The result is then marked as Unrecorded. By default, such a TaskRun is INDETERMINATE with
// the check record.
func WithUnrecorded() Option { return func(v *Verifier) { v.allowUnrecorded = true } }

// unrecordedCaveat is the caveat for evidence that was accepted in that way.
const unrecordedCaveat = "unrecorded: only the pod that signed claims that it was the pod of this TaskRun"

// settleOwner makes sure that the pod was the TaskRun's if everything else is good. Call it before the record
// is compared with the verdict.
func (c *conclusion) settleOwner() {
	if len(c.units) == 0 || c.ownerProven() || c.found.verdict() != Verified {
		return
	}
	if c.v.allowUnrecorded {
		c.unrecorded = true
		c.found.caveat(unrecordedCaveat)
		return
	}
	c.found.add(Check{
		ID: CheckRecord, Status: Unknown, Expected: "a good record of the add-on, or the live pod of the TaskRun",
		Got: c.ownerText(),
		Message: "the pod itself wrote the TaskRun's UID into its evidence: only the add-on's record, or the owner of the " +
			"live pod, proves that it was this TaskRun's pod. " + c.ownerAdvice(),
	})
}

// ownerProven reports whether the live pod or the add-on's record proves that the pod was the TaskRun's.
// comparePods and settleRecord check that this pod is the one that signed.
func (c *conclusion) ownerProven() bool {
	pod := c.facts.Pod
	live := c.facts.Live && pod != nil && pod.Found && !pod.Unfenced && pod.ControllerUID == c.tr.UID && c.tr.UID != ""
	return live || c.record.proves() && c.record.PodUID != ""
}

// onlyUnrecorded reports whether only the proof of the pod's owner is missing.
func (r *Result) onlyUnrecorded() bool {
	return r.Verdict == Indeterminate && !slices.ContainsFunc(r.Checks, func(c Check) bool {
		return c.Status == Unknown && c.ID != CheckRecord || c.Status == Missing
	})
}

// ownerText describes what there is instead of a proof.
func (c *conclusion) ownerText() string {
	switch {
	case c.facts.Pod != nil && c.facts.Pod.Unfenced:
		return "a pod that is older than its namespace's token grant, and with it than the policies that keep others from " +
			"imitating it"
	case c.record.good() && c.record.proves():
		return "a record that names no pod"
	case c.record.good():
		return "a record with the verdict " + c.record.Verdict
	case c.carriesRecord():
		return "a record that proves nothing here"
	}
	return "neither"
}

// ownerAdvice returns the next step for the user.
func (c *conclusion) ownerAdvice() string {
	const accept = "accept the pod's own claim with --allow-unrecorded"
	switch {
	case c.carriesRecord() && c.record == nil:
		return "See the check record: a trust bundle that was exported again may prove the record; or " + accept
	case c.facts.Live:
		return "Let the add-on record TaskRuns before their pods are gone; or " + accept
	}
	return "Export the TaskRun again once the add-on has recorded it, or verify it live while its pod is there; or " +
		accept
}
