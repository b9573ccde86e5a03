// SPDX-License-Identifier: Apache-2.0

// Package merge merges what a pod's steps emitted as Tekton's controller does: into the results of the
// TaskRun and of its steps, and the artifacts. For completed pods, it is equal to MakeTaskRunStatus of Tekton
// v1.15.0 (pkg/pod/status.go). Linking that function would also link the registry clients of three clouds,
// which Tekton's package needs to look up entrypoints. FuzzMerge compares the two, and so do all tests of
// pkg/verify, whose TaskRuns come from Tekton's function.
//
// If Tekton does something strange, this package does the same, because it must match the status in a
// cluster.
package merge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
)

// Outcome is the part of a TaskRun's status that Tekton makes from a completed pod.
type Outcome struct {
	Results   []v1.TaskRunResult // one for each name; nil if there are none
	Steps     []v1.StepState     // only containers that are steps
	Artifacts v1.Artifacts       // in any order
}

// Merge returns what Tekton makes from the containers' messages and from the log of its results sidecar.
// containers are the pod's container statuses. The error joins everything that could not be read; Tekton
// stores the outcome even with an error.
func Merge(spec *v1.TaskSpec, containers []corev1.ContainerStatus, log Log) (Outcome, error) {
	m := merger{spec: spec, log: log, logger: zap.NewNop().Sugar(), types: map[string]v1.ResultsType{}}
	for _, r := range spec.Results {
		m.types[r.Name] = r.Type
	}
	m.out.Results, _, _ = m.read(log.ofType(result.TaskRunResultType), nil)
	for _, c := range lastOfName(containers) {
		if tekton.IsStep(c.Name) {
			m.out.Steps = append(m.out.Steps, m.step(c))
		}
	}
	m.out.Results = latest(m.out.Results)
	return m.out, errors.Join(m.errs...)
}

// lastOfName replaces the status of all containers of one name by that of the last one.
func lastOfName(containers []corev1.ContainerStatus) []corev1.ContainerStatus {
	last := make(map[string]corev1.ContainerStatus, len(containers))
	for _, c := range containers {
		last[c.Name] = c
	}
	out := make([]corev1.ContainerStatus, len(containers))
	for i, c := range containers {
		out[i] = last[c.Name]
	}
	return out
}

// latest keeps one result of each name, at the first one's position, with the last one's value.
func latest(results []v1.TaskRunResult) []v1.TaskRunResult {
	place := make(map[string]int, len(results))
	var kept []v1.TaskRunResult
	for _, r := range results {
		if i, ok := place[r.Name]; ok {
			kept[i] = r
			continue
		}
		place[r.Name] = len(kept)
		kept = append(kept, r)
	}
	return kept
}

type merger struct {
	spec   *v1.TaskSpec
	log    Log
	logger *zap.SugaredLogger
	types  map[string]v1.ResultsType // of the declared results
	out    Outcome
	errs   []error
}

// note keeps an error that is not nil.
func (m *merger) note(err error) {
	if err != nil {
		m.errs = append(m.errs, err)
	}
}

// step merges what one step emitted.
func (m *merger) step(c corev1.ContainerStatus) v1.StepState {
	s := v1.StepState{
		ContainerState: *c.State.DeepCopy(), Name: strings.TrimPrefix(c.Name, tekton.StepPrefix), Container: c.Name,
		ImageID: c.ImageID,
		Results: []v1.TaskRunStepResult{},
	}
	promoted, err := m.promoted(c.Name)
	m.note(err)
	types := m.stepTypes(c.Name)
	_, results, _ := m.read(m.log.ofStep(c.Name), types)
	m.addStepResults(&s, results, promoted)

	var artifacts v1.Artifacts
	m.note(decodeFirst(m.log, &artifacts, func(r result.RunResult) bool {
		return r.ResultType == result.StepArtifactsResultType && r.Key == c.Name
	}))
	if t := s.Terminated; t != nil && t.Message != "" {
		m.message(&s, types, promoted, &artifacts)
	}
	s.Inputs, s.Outputs = artifacts.Inputs, artifacts.Outputs
	return s
}

// message merges a step's termination message.
func (m *merger) message(
	s *v1.StepState, types map[string]v1.ResultsType, promoted map[string]string, artifacts *v1.Artifacts,
) {
	entries, err := termination.ParseMessage(m.logger, s.Terminated.Message)
	if err != nil {
		m.note(err)
		return
	}
	m.note(decodeFirst(entries, artifacts, func(r result.RunResult) bool {
		return r.ResultType == result.StepArtifactsResultType
	}))
	results, stepResults, shown := m.read(entries, types)
	m.out.Results = append(m.out.Results, results...)
	m.addStepResults(s, stepResults, promoted)

	var ofTask v1.Artifacts
	m.note(decodeFirst(shown, &ofTask, func(r result.RunResult) bool {
		return r.ResultType == result.TaskRunArtifactsResultType
	}))
	m.out.Artifacts.Merge(&ofTask)
	m.out.Artifacts.Merge(artifacts)
	m.terminated(s, entries, shown)
}

// terminated sets the step's state from the entries about its end, and its message from the shown entries.
func (m *merger) terminated(s *v1.StepState, entries, shown []result.RunResult) {
	t := s.Terminated
	started, err := startedAt(entries)
	m.note(err)
	code, err := exitCode(entries)
	m.note(err)
	s.TerminationReason = terminationReason(t.Reason, entries, code)
	if started != nil {
		t.StartedAt = *started
	}
	if code != nil {
		t.ExitCode = *code
	}
	t.Message = ""
	if len(shown) > 0 {
		text, err := json.Marshal(shown)
		m.note(err)
		t.Message = string(text)
	}
}

// addStepResults adds the step's results to the step, and those that the Task promotes to the TaskRun.
func (m *merger) addStepResults(s *v1.StepState, results []v1.TaskRunStepResult, promoted map[string]string) {
	s.Results = append(s.Results, results...)
	for _, r := range results {
		if name, ok := promoted[r.Name]; ok {
			m.out.Results = append(m.out.Results, v1.TaskRunResult{Name: name, Type: r.Type, Value: r.Value})
		}
	}
}

// promoted maps the names of the container's results to the names of the Task's results that promote them. If
// one cannot be read, none is returned.
func (m *merger) promoted(container string) (map[string]string, error) {
	names := map[string]string{}
	for _, r := range m.spec.Results {
		if r.Value == nil || r.Value.StringVal == "" {
			continue
		}
		step, name, err := v1.ExtractStepResultName(r.Value.StringVal)
		if err != nil {
			return nil, err
		}
		if tekton.StepContainer(step) == container {
			names[name] = r.Name
		}
	}
	return names, nil
}

// stepTypes returns the declared types of the results of a container's step.
func (m *merger) stepTypes(container string) map[string]v1.ResultsType {
	types := map[string]v1.ResultsType{}
	for i := range m.spec.Steps {
		if step := &m.spec.Steps[i]; tekton.StepContainer(step.Name) == container {
			for _, r := range step.Results {
				types[r.Name] = r.Type
			}
		}
	}
	return types
}

// read separates entries into the TaskRun's results and the step's. shown are the entries that stay in the
// message: all except Tekton's own and those whose value cannot be read.
func (m *merger) read(entries []result.RunResult, stepTypes map[string]v1.ResultsType) (
	results []v1.TaskRunResult, stepResults []v1.TaskRunStepResult, shown []result.RunResult,
) {
	for _, e := range entries {
		switch e.ResultType {
		case result.TaskRunResultType:
			value, err := valueOf(e.Value, m.types[e.Key])
			if err != nil {
				continue
			}
			results = append(results, v1.TaskRunResult{Name: e.Key, Type: v1.ResultsType(value.Type), Value: value})
		case result.StepResultType:
			value, err := valueOf(e.Value, stepTypes[e.Key])
			if err != nil {
				continue
			}
			stepResults = append(stepResults, v1.TaskRunStepResult{Name: e.Key, Type: v1.ResultsType(value.Type), Value: value})
		case result.InternalTektonResultType:
			continue
		}
		shown = append(shown, e)
	}
	return results, stepResults, shown
}

// valueOf reads a value: unchanged if the declared type is string, otherwise as the type that it looks like.
func valueOf(text string, declared v1.ResultsType) (v1.ResultValue, error) {
	if declared == v1.ResultsTypeString {
		return *v1.NewStructuredValues(text), nil
	}
	var value v1.ResultValue
	err := value.UnmarshalJSON([]byte(text))
	return value, err
}

// decodeFirst reads the first entry of the wanted kind, if there is one.
func decodeFirst(entries []result.RunResult, artifacts *v1.Artifacts, wanted func(result.RunResult) bool) error {
	for _, e := range entries {
		if wanted(e) {
			return json.Unmarshal([]byte(e.Value), artifacts)
		}
	}
	return nil
}

// The keys with which the entrypoint reports how the step ran. Tekton reads the first two from entries of any type.
const (
	keyStartedAt = "StartedAt"
	keyExitCode  = "ExitCode"
	keyReason    = "Reason"
)

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// reasonContinued is the reason of a step that failed without failing its TaskRun.
const reasonContinued = "Continued"

// startedAt returns when the step's command started, or nil if no entry has it.
func startedAt(entries []result.RunResult) (*metav1.Time, error) {
	for _, e := range entries {
		if e.Key == keyStartedAt {
			t, err := time.Parse(timeFormat, e.Value)
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", keyStartedAt, err)
			}
			return &metav1.Time{Time: t}, nil
		}
	}
	return nil, nil
}

// exitCode returns the exit code of a step that was allowed to fail, or nil if no entry has it.
func exitCode(entries []result.RunResult) (*int32, error) {
	for _, e := range entries {
		if e.Key == keyExitCode {
			n, err := strconv.ParseInt(e.Value, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", keyExitCode, err)
			}
			code := int32(n)
			return &code, nil
		}
	}
	return nil, nil
}

// terminationReason returns why the step ended: the entrypoint's reason, or else the kubelet's.
func terminationReason(kubelet string, entries []result.RunResult, code *int32) string {
	for _, e := range entries {
		if e.ResultType == result.InternalTektonResultType && e.Key == keyReason {
			if e.Value != "" {
				return e.Value
			}
			break
		}
	}
	if code != nil {
		return reasonContinued
	}
	return kubelet
}
