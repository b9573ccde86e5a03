// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"encoding/json"
	"fmt"
	"math"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/merge"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// If values travel by the log of Tekton's results sidecar (flag bit 1), messages carry only evidence. What
// the steps signed is then rebuilt from the status itself, and the digest shows whether it is right. See
// docs/evidence.md, "Values by sidecar log".

// loggedValue is a value as the sidecar wrote it into its log.
type loggedValue struct {
	kind result.ResultType
	name string
	raw  string
}

// knownTransport checks that all units have the same flag for how values travelled.
func (i *identification) knownTransport(u *unit) bool {
	for _, other := range i.units {
		if other == u {
			break
		}
		if want := other.header.Flags & signing.FlagSidecarLogs; other.read &&
			want != u.header.Flags&signing.FlagSidecarLogs {
			i.found.refute(u, CheckFormat, transportText(other.header.Flags), transportText(u.header.Flags),
				"the steps' evidence names different ways in which values travel")
			return false
		}
	}
	return true
}

// checkLogged refuses a message that holds values if, by its evidence, values travel by log. No one signed
// such values, and Tekton adds them to the results.
func (r *stepReader) checkLogged(s *step) {
	header, err := signing.ParseManifest(s.carriers[signing.CarrierManifest])
	if err != nil || !header.Flags.Has(signing.FlagSidecarLogs) {
		return
	}
	if emitted := s.entries(); len(emitted) > 0 {
		r.found.add(Check{
			ID: CheckMessage, Status: Fail, Step: s.state.Container, Result: emitted[0].Key,
			Expected: "evidence alone, as values travel by log", Got: count(len(emitted), "value"),
			Message: "the message holds values that no step signed",
		})
	}
}

func transportText(f signing.Flags) string {
	if f.Has(signing.FlagSidecarLogs) {
		return "values by the log of a sidecar"
	}
	return "values by termination message"
}

// entriesOf returns what a unit vouches for, as the TaskRun shows it now.
func (r run) entriesOf(u *unit) ([]signing.Entry, error) {
	if !u.header.Flags.Has(signing.FlagSidecarLogs) {
		return signing.EntriesOf(u.step.results)
	}
	var entries []signing.Entry
	for _, v := range r.logged(u) {
		if e, ok := signing.CanonicalEntry(v.kind, v.name, v.raw); ok {
			entries = append(entries, e)
		}
	}
	if len(entries) > math.MaxUint16 {
		return nil, fmt.Errorf("%d entries are more than the %d that evidence can count", len(entries), math.MaxUint16)
	}
	signing.SortEntries(entries)
	return entries, nil
}

// logged returns what the sidecar must have logged of a step, going by the status.
func (r run) logged(u *unit) []loggedValue {
	var values []loggedValue
	if u.header.Flags.Has(signing.FlagLast) && u.step.last { // every step may claim to be the last one
		promoted := r.promotedNames()
		for _, r := range r.tr.Status.Results {
			if !signing.IsReserved(r.Name) && !promoted[r.Name] {
				values = append(values, loggedValue{result.TaskRunResultType, r.Name, rawValue(r.Value)})
			}
		}
	}
	state := u.step.state
	for _, r := range state.Results {
		values = append(values, loggedValue{result.StepResultType, r.Name, rawValue(r.Value)})
	}
	if len(state.Inputs)+len(state.Outputs) > 0 {
		values = append(values, loggedValue{result.StepArtifactsResultType, state.Container, artifactsJSON(state)})
	}
	return values
}

// checkSpelling doubts strings that the TaskRun shows in another form than the hashed one. A value that looks
// like an array or object is hashed in canonical form. Many texts share one canonical form, and other readers
// may understand them differently.
func (c *comparison) checkSpelling(u *unit) {
	if !u.header.Flags.Has(signing.FlagSidecarLogs) {
		return
	}
	for _, v := range c.logged(u) {
		if v.kind == result.StepArtifactsResultType || v.raw == signing.CanonicalValue(v.raw) {
			continue
		}
		c.found.add(Check{
			ID: CheckPayload, Status: Unknown, Step: u.step.state.Container, Result: v.name,
			Expected: "the canonical form of the array or object, which is what was signed",
			Got:      "another spelling, as a string",
			Message: "the spelling of the value is not proven: emit it as JSON without spaces, with sorted keys, or declare " +
				"it as an array or object",
		})
	}
}

// promotedNames returns the task results that Tekton makes from the step results that the TaskRun shows.
func (r run) promotedNames() map[string]bool {
	declared := r.declared()
	shown, names := stepResultsOf(r.tr.Status.Steps), map[string]bool{}
	for _, d := range declared.Results {
		if container, stepResult, ok := promotionOf(d); ok && shown[[2]string{container, stepResult}] {
			names[d.Name] = true
		}
	}
	return names
}

// stepResultsOf returns the results that steps show, each as container and name.
func stepResultsOf(steps []v1.StepState) map[[2]string]bool {
	shown := map[[2]string]bool{}
	for i := range steps {
		for _, r := range steps[i].Results {
			shown[[2]string{steps[i].Container, r.Name}] = true
		}
	}
	return shown
}

// rawValue returns a result as a step may have written it into its file.
func rawValue(v v1.ParamValue) string {
	if v.Type == v1.ParamTypeArray || v.Type == v1.ParamTypeObject {
		return string(valueJSON(v))
	}
	return v.StringVal
}

func artifactsJSON(state *v1.StepState) string {
	data, err := json.Marshal(v1.Artifacts{Inputs: state.Inputs, Outputs: state.Outputs})
	if err != nil {
		return "" // plain strings and booleans always encode
	}
	return string(data)
}

// log returns the log that leads to the status. It contains the steps that signed; a step without evidence
// logged nothing. A log that is too long for a receipt is not merged beside evidence either.
func (r *replay) log() merge.Log {
	if pod := r.facts.Pod; pod != nil && pod.Reported != nil && pod.Reported.Log.Digest != "" &&
		mergeable(nil, pod.Reported.Log.Entries) {
		return pod.Reported.Log.Entries
	}
	var log merge.Log
	for _, u := range r.units {
		if !u.header.Flags.Has(signing.FlagSidecarLogs) {
			continue
		}
		for _, v := range r.logged(u) {
			switch v.kind {
			case result.TaskRunResultType:
				log.TaskResult(v.name, v.raw)
			case result.StepResultType:
				log.StepResult(u.step.state.Container, v.name, v.raw)
			default:
				log.StepArtifacts(v.name, v.raw)
			}
		}
	}
	return log
}

// lost reports whether a unit counts more values than the TaskRun shows, in a run in which Tekton may not
// have read them from the log. Lost values cannot be compared, so it adds an undecided check.
func (c *comparison) lost(u *unit, shown int) bool {
	missing := int(u.header.Entries) - shown
	if !u.header.Flags.Has(signing.FlagSidecarLogs) || missing <= 0 {
		return false
	}
	last := u.header.Flags.Has(signing.FlagLast) && u.step.last
	message := ""
	switch {
	case c.emptied():
		message = "enforcement removed the values, and no message holds them"
	case c.mayBeEmpty():
		message = "Tekton ended the run before it read the values from the sidecar's log, and no message holds them"
	case last && c.failureReason() == string(v1.TaskRunReasonFailedValidation):
		message = "Tekton dropped results that are not of their declared type, and no message holds them"
	case last && missing <= len(c.promotedNames()):
		message = "a promoted result hides one of its name that a step wrote, and no message holds that one"
	default:
		return false
	}
	c.found.doubt(u, CheckPayload, count(int(u.header.Entries), "value"), count(shown, "value"), message)
	return true
}
