// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/merge"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// replayed is what stock Tekton makes from the steps' messages.
type replayed struct {
	merge.Outcome
	dropped []v1.TaskRunResult // results that do not have their declared type
}

// replay is the stage replay. It checks whether stock Tekton makes what the TaskRun shows from the steps'
// messages.
type replay struct {
	run
	v      *Verifier
	found  *findings
	steps  []*step
	units  units
	record *recorded // nil unless its proof is good
}

// replay merges the steps' messages as stock Tekton does and compares the TaskRun with the outcome.
func (v *Verifier) replay(ctx context.Context, r run, steps []*step, list units, made *recorded, found *findings) {
	if found.failed(CheckMessage) {
		return // there is nothing to merge
	}
	stage := &replay{r, v, found, steps, list, made}
	declared, proof := stage.declaration()
	if !stage.replayable(declared) {
		return
	}
	want := stage.merge(declared)
	stage.explainDeclaration(declared, proof, want)
	stage.compareResults(want)
	stage.compareSteps(want)
	stage.compareArtifacts(ctx, want)
}

// merge merges the messages as Tekton does for a pod that ended as the TaskRun's steps did, then drops what
// Tekton's reconciler drops.
func (r *replay) merge(declared *v1.TaskSpec) replayed {
	containers := make([]corev1.ContainerStatus, 0, len(r.steps))
	for _, s := range r.steps {
		containers = append(containers, corev1.ContainerStatus{Name: s.state.Container, State: r.mergedState(s)})
	}
	outcome, err := merge.Merge(declared, containers, r.log())
	want := replayed{Outcome: outcome}
	if err == nil {
		want.dropMismatched(declared)
	}
	return want
}

// mergedState returns the step's state as Tekton found it when it merged. It leaves signing material out of
// the message, because it is not compared either. If values travel by log the material stays, because Tekton
// skips steps without a message.
func (r *replay) mergedState(s *step) corev1.ContainerState {
	state := s.state.ContainerState
	switch {
	case s.ended && state.Terminated.Reason == r.failureReason():
		return corev1.ContainerState{} // Tekton wrote the text itself, after it had merged
	case len(s.carriers) == 0 || r.units.sidecarLogs():
		return state
	}
	terminated := *state.Terminated
	terminated.Message = ""
	if entries := s.entries(); len(entries) > 0 {
		message, err := json.Marshal(entries)
		if err != nil {
			return state // strings and numbers always encode
		}
		terminated.Message = string(message)
	}
	return corev1.ContainerState{Terminated: &terminated}
}

// dropMismatched removes the results whose type is not the declared one, as Tekton's reconciler does after a
// merge without error (validateTaskRunResults in its pkg/reconciler/taskrun). It then fails the TaskRun as
// TaskRunValidationFailed.
func (r *replayed) dropMismatched(declared *v1.TaskSpec) {
	types := map[string]v1.ResultsType{}
	for _, d := range declared.Results {
		types[d.Name] = d.Type
	}
	r.Results = slices.DeleteFunc(r.Results, func(got v1.TaskRunResult) bool {
		want, ok := types[got.Name]
		if ok && want != got.Type {
			r.dropped = append(r.dropped, got)
			return true
		}
		return false
	})
}

// unprovenDeclaration is the caveat for values that depend on a declaration without proof.
const unprovenDeclaration = "the declaration of results in status.taskSpec is not proven: anyone who can " +
	"write the status can have changed it"

// declared returns the results that the Task declares. Anyone who can write the status can change
// status.taskSpec; the spec of a live object is as the API server admitted it.
func (r run) declared() *v1.TaskSpec {
	declared := &v1.TaskSpec{}
	if spec := r.tr.Status.TaskSpec; spec != nil {
		declared.Results, declared.Steps = spec.Results, spec.Steps
	}
	if inline := r.tr.Spec.TaskSpec; r.facts.Live && inline != nil {
		declared.Results = inline.Results
	}
	return declared
}

// declarationProof names what proves the declaration. It is empty if nothing does.
func (r *replay) declarationProof() string {
	switch {
	case r.facts.Live && r.tr.Spec.TaskSpec != nil:
		return "results are declared in the TaskRun's own spec"
	case r.facts.Live && r.facts.Pinned:
		return "the add-on kept the declaration as Tekton set it"
	case r.record.provesDeclaration():
		return "the add-on recorded the declaration"
	}
	return ""
}

// declaration returns the declared results and what proves them. It compares the two places in which a
// TaskRun holds them.
func (r *replay) declaration() (declared *v1.TaskSpec, proof string) {
	declared, proof = r.declared(), r.declarationProof()
	if proof == "" {
		return declared, ""
	}
	var shown []v1.TaskResult
	if spec := r.tr.Status.TaskSpec; spec != nil {
		shown = spec.Results
	}
	if want, got := describeDeclared(declared.Results), describeDeclared(shown); want != got {
		r.found.fail(CheckDeclaration, want, got, "status.taskSpec declares other results than the TaskRun's spec")
	}
	return declared, proof
}

// describeDeclared returns the parts of the declaration that decide how results are read: names, types and
// promoted step results.
func describeDeclared(results []v1.TaskResult) string {
	described := make([]string, 0, len(results))
	for _, r := range results {
		text := fmt.Sprintf("%s %s", r.Name, r.Type)
		if r.Value != nil {
			text += " = " + r.Value.StringVal
		}
		described = append(described, text)
	}
	slices.Sort(described)
	if len(described) == 0 {
		return "no results"
	}
	return fmt.Sprintf("%q", described)
}

// explainDeclaration adds checks where the outcome depends on the declaration: promoted step results, dropped
// results, and values that would be read differently with another type.
func (r *replay) explainDeclaration(declared *v1.TaskSpec, proof string, want replayed) {
	if proof == "" {
		r.found.caveat(unprovenDeclaration)
		r.promoted(declared, want)
		r.mayPromote(want)
		r.untyped()
	}
	for _, dropped := range want.dropped {
		r.explainDropped(dropped)
	}
	if proof != "" {
		r.found.pass(CheckDeclaration, proof)
	}
}

// promotionOf returns the step's container and the step result that a declared result promotes, if it
// promotes one.
func promotionOf(d v1.TaskResult) (container, stepResult string, ok bool) {
	if d.Value == nil || d.Value.StringVal == "" {
		return "", "", false
	}
	step, stepResult, err := v1.ExtractStepResultName(d.Value.StringVal)
	if err != nil {
		return "", "", false
	}
	return tekton.StepContainer(step), stepResult, true
}

// promoted makes results that come from step results INDETERMINATE, because only the declaration shows which
// step result becomes which result.
func (r *replay) promoted(declared *v1.TaskSpec, want replayed) {
	emitted := stepResultsOf(want.Steps)
	for _, d := range declared.Results {
		if container, stepResult, ok := promotionOf(d); ok && emitted[[2]string{container, stepResult}] {
			r.found.add(Check{
				ID: CheckDeclaration, Status: Unknown, Result: d.Name,
				Expected: "proof that the Task declares it as " + d.Value.StringVal, Got: "status.taskSpec alone",
				Message: "the result is a promoted step result: verify it live on a TaskRun with an inline taskSpec",
			})
		}
	}
}

// mayPromote doubts TaskRuns whose steps show results if nothing proves the declaration: only the declaration
// shows that the Task promotes none of them. Otherwise, removing a promoted result together with its
// declaration would improve the verdict.
func (r *replay) mayPromote(want replayed) {
	// another caveat covers format v1, which does not sign them
	if r.found.have(Unknown, CheckDeclaration) || r.units.legacy() {
		return
	}
	for i := range want.Steps {
		s := &want.Steps[i]
		if len(s.Results) == 0 {
			continue
		}
		r.found.add(Check{
			ID: CheckDeclaration, Status: Unknown, Step: s.Container,
			Expected: "proof of the results that the Task declares", Got: "status.taskSpec alone",
			Message: "the step has results, and it is not proven whether the Task promotes them: verify it " +
				"with the add-on's record, or live on a TaskRun with an inline taskSpec",
		})
		return
	}
}

// untyped adds a note for values that read differently as a string than as an array, an object or a JSON
// string.
func (r *replay) untyped() {
	noted := map[string]bool{}
	note := func(name, raw string) {
		if readsAsItself(raw) || noted[name] {
			return
		}
		noted[name] = true
		r.found.add(Check{
			ID: CheckDeclaration, Status: Note, Result: name,
			Message: "type not proven: the value is signed, whether it is a string, an array or an object is not",
		})
	}
	for _, s := range r.steps {
		for _, e := range s.entries() {
			if e.ResultType == result.TaskRunResultType || e.ResultType == result.StepResultType {
				note(e.Key, e.Value)
			}
		}
	}
	if r.units.sidecarLogs() {
		for _, r := range r.tr.Status.Results {
			if !signing.IsReserved(r.Name) {
				note(r.Name, rawValue(r.Value))
			}
		}
	}
}

// readsAsItself reports whether Tekton reads a value as a string with the same text, whatever type is declared.
func readsAsItself(raw string) bool {
	if raw == "" || !strings.ContainsRune(" \t\r\n[{\"n", rune(raw[0])) {
		return true // the beginning is not that of an array, an object, a JSON string or null
	}
	var v v1.ParamValue
	err := v.UnmarshalJSON([]byte(raw))
	return err == nil && v.Type == v1.ParamTypeString && v.StringVal == raw
}

// explainDropped accepts a dropped result only if Tekton failed the TaskRun because of it.
func (r *replay) explainDropped(dropped v1.TaskRunResult) {
	if signing.IsReserved(dropped.Name) {
		return
	}
	reason := r.failureReason()
	if r.mayBeEmpty() {
		return
	}
	c := Check{
		ID: CheckDeclaration, Status: Note, Result: dropped.Name,
		Message: "Tekton dropped the result: it is not of its declared type",
	}
	if reason != string(v1.TaskRunReasonFailedValidation) {
		c.Status = Fail
		c.Expected = "Succeeded=False with reason " + string(v1.TaskRunReasonFailedValidation)
		c.Got = r.outcomeText()
		c.Message = "the result is not of the declared type, for which Tekton would have failed the TaskRun"
	}
	r.found.add(c)
}
