// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"encoding/json"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Archives that drop the steps' messages may have kept the signing material in status.results (enable
// --keep-material). For a TaskRun with one step, the message can be rebuilt from the status. The signature
// shows whether the rebuilt message is the right one.

// restoredCaveat is the caveat for a TaskRun that was verified in that way.
const restoredCaveat = "the step's message is gone: it was rebuilt from the status, which shows what " +
	"was signed"

// inexactMessage explains that such a message is not what was signed.
const inexactMessage = "the step's message is gone, and what the status shows is not what was signed: it was " +
	"changed, or the step wrote it in another form"

// restore returns the state of the only step with its message rebuilt from the status, and whether that
// worked. It does nothing if the add-on's record replaces the messages, because the record proves more.
func (r *stepReader) restore(state *v1.StepState) (*v1.StepState, bool) {
	if len(r.tr.Status.Steps) != 1 || state.Terminated == nil || state.Terminated.Message != "" || r.record.stands() {
		return nil, false
	}
	entries := r.entriesInStatus(state)
	slices.SortFunc(entries, func(a, b result.RunResult) int { return cmp.Compare(a.Key, b.Key) })
	unique := slices.CompactFunc(slices.Clone(entries), func(a, b result.RunResult) bool { return a.Key == b.Key })
	if len(unique) != len(entries) || !slices.ContainsFunc(entries, signing.IsCarrier) {
		return nil, false
	}
	message, err := json.Marshal(entries)
	if err != nil {
		return nil, false // strings and numbers always encode
	}
	restored, terminated := *state, *state.Terminated
	terminated.Message = string(message)
	restored.Terminated = &terminated
	return &restored, true
}

// entriesInStatus returns what the only step must have emitted, going by the status.
func (r *stepReader) entriesInStatus(state *v1.StepState) []result.RunResult {
	byLog, promoted := false, r.promotedNames()
	var entries []result.RunResult
	add := func(kind result.ResultType, key, value string) {
		entries = append(entries, result.RunResult{Key: key, Value: value, ResultType: kind})
	}
	for _, r := range r.tr.Status.Results {
		if header, err := signing.ParseManifest(r.Value.StringVal); r.Name == signing.CarrierManifest && err == nil {
			byLog = header.Flags.Has(signing.FlagSidecarLogs)
		}
	}
	for _, r := range r.tr.Status.Results {
		if signing.IsReserved(r.Name) || !byLog && !promoted[r.Name] {
			add(result.TaskRunResultType, r.Name, rawValue(r.Value))
		}
	}
	if byLog {
		return entries
	}
	for _, r := range state.Results {
		add(result.StepResultType, r.Name, rawValue(r.Value))
	}
	return entries
}

// untraced reports whether a unit counts more values than the status shows, and adds an undecided check if
// so: empty artifacts leave no trace in the status.
func (c *comparison) untraced(u *unit, shown int) bool {
	if !c.restored || int(u.header.Entries) < shown {
		return false
	}
	c.found.doubt(u, CheckPayload, count(int(u.header.Entries), "value"), count(shown, "value"), inexactMessage)
	return true
}

// exact reports whether the status shows every byte that the step emitted. That is so for strings that are
// declared as strings. Lists and objects may have been written in another form, and artifacts always are.
func (r run) exact() bool {
	declared := map[string]bool{}
	if spec := r.tr.Status.TaskSpec; spec != nil {
		for _, d := range spec.Results {
			declared[d.Name] = d.Value == nil && (d.Type == v1.ResultsTypeString || d.Type == "")
		}
	}
	for _, r := range r.tr.Status.Results {
		if !signing.IsReserved(r.Name) && (!declared[r.Name] || r.Value.Type != v1.ParamTypeString) {
			return false
		}
	}
	s := &r.tr.Status.Steps[0]
	return r.succeeded() && len(s.Results)+len(s.Inputs)+len(s.Outputs) == 0 && emptyArtifacts(r.tr.Status.Artifacts)
}
