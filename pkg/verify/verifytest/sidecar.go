// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"encoding/json"
	"fmt"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/tektontest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// StepArtifacts returns an entry of a step's artifacts. Its name is not used if values travel by log.
func StepArtifacts(a v1.Artifacts) result.RunResult {
	data, err := json.Marshal(a)
	if err != nil {
		panic(err) // plain strings and booleans always encode
	}
	return result.RunResult{Key: "artifacts", Value: string(data), ResultType: result.StepArtifactsResultType}
}

// SidecarTaskRun signs the steps as in a cluster in which values travel by the log of Tekton's results
// sidecar, and returns the TaskRun as such a cluster stores it. The Entries of each step are what it writes
// into files.
func (r *Run) SidecarTaskRun(c *Cluster) (*v1.TaskRun, error) {
	run, log := *r, &tektontest.Log{}
	run.Steps = append([]Step{}, r.Steps...)
	entries := entriesByStep(r.Steps, log)
	for i := range run.Steps {
		step, change := &run.Steps[i], r.Steps[i].Change
		step.Entries = nil
		step.Change = func(u *signing.Unit) {
			u.Header.Flags |= signing.FlagSidecarLogs
			u.Header.Entries = uint16(len(entries[i])) // #nosec G115 -- a few entries
			u.Entries = entries[i]
			if change != nil {
				change(u)
			}
		}
	}
	signed, err := run.TaskRun(c)
	if err != nil {
		return nil, err
	}
	pod, err := run.Pod(c)
	if err != nil {
		return nil, err
	}
	tr := v1.TaskRun{TypeMeta: signed.TypeMeta, ObjectMeta: signed.ObjectMeta, Spec: signed.Spec}
	tr.Status.TaskSpec = r.Spec.DeepCopy()
	tr.Status.StartTime, tr.Status.RetriesStatus = signed.Status.StartTime, signed.Status.RetriesStatus
	status, err := tektontest.NewController().Status(tr, pod, &r.Spec, log)
	if err != nil {
		return nil, fmt.Errorf("merging messages and log: %w", err)
	}
	status.Conditions, status.CompletionTime = signed.Status.Conditions, signed.Status.CompletionTime
	tr.Status = status
	return stored(&tr)
}

// entriesByStep returns what each step signs, and writes the log of the sidecar. Task results are logged as
// the last step leaves them, and are all in the last step's unit.
func entriesByStep(steps []Step, log *tektontest.Log) [][]signing.Entry {
	entries := make([][]signing.Entry, len(steps))
	last := len(steps) - 1
	add := func(step int, kind result.ResultType, name, value string) {
		if e, ok := signing.CanonicalEntry(kind, name, value); ok {
			entries[step] = append(entries[step], e)
		}
	}
	written, order := map[string]string{}, []string{}
	for i, step := range steps {
		container := tekton.StepContainer(step.Name)
		for _, e := range step.Entries {
			switch e.ResultType {
			case result.TaskRunResultType:
				if _, ok := written[e.Key]; !ok {
					order = append(order, e.Key)
				}
				written[e.Key] = e.Value
			case result.StepResultType:
				log.StepResult(container, e.Key, e.Value)
				add(i, e.ResultType, e.Key, e.Value)
			case result.StepArtifactsResultType:
				log.StepArtifacts(container, e.Value)
				add(i, e.ResultType, container, e.Value)
			}
		}
	}
	for _, name := range order {
		log.TaskResult(name, written[name])
		add(last, result.TaskRunResultType, name, written[name])
	}
	for _, list := range entries {
		signing.SortEntries(list)
	}
	return entries
}
