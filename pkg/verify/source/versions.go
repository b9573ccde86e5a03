// SPDX-License-Identifier: Apache-2.0

package source

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// checkVersion refuses fields that only the other version of the API has. Someone who reads the file as the
// other version would believe them, although they were not verified.
func checkVersion(data []byte, own, other any, version string) error {
	unknown, err := strictjson.Unknown(data, own)
	if err != nil || len(unknown) == 0 {
		return err
	}
	elsewhere, err := strictjson.Unknown(data, other)
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(unknown)) {
		if !elsewhere[path] {
			return fmt.Errorf("the field %s is not in tekton.dev/%s, but in another version: one of them is not from Tekton",
				path, version)
		}
	}
	return nil
}

// shownResults are the fields in which Tekton writes results, in v1 and v1beta1, with values as they are
// written.
type shownResults struct {
	Results     []shownResult  `json:"results"`
	TaskResults []shownResult  `json:"taskResults"`
	Steps       []shownResults `json:"steps"`
	Retries     []shownResults `json:"retriesStatus"`
}

type shownResult struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// checkValues refuses result values that Tekton does not write. It writes strings, arrays of strings and
// objects of strings. Its decoder reads anything else as a string with the same text.
func checkValues(data []byte, tr *v1.TaskRun) error {
	if !doubtful(&tr.Status) {
		return nil
	}
	var object struct {
		Status shownResults `json:"status"`
	}
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	return object.Status.check()
}

func (s *shownResults) check() error {
	for _, r := range slices.Concat(s.Results, s.TaskResults) {
		var text string
		var array []string
		var members map[string]string
		null := string(r.Value) == "null" || len(r.Value) == 0
		if null || json.Unmarshal(r.Value, &text) != nil && json.Unmarshal(r.Value, &array) != nil &&
			json.Unmarshal(r.Value, &members) != nil {
			return fmt.Errorf("the value of result %q is not a string, an array of strings or an object of strings", r.Name)
		}
	}
	for _, inner := range slices.Concat(s.Steps, s.Retries) {
		if err := inner.check(); err != nil {
			return err
		}
	}
	return nil
}

// doubtful reports whether a string may have been another type in JSON.
func doubtful(s *v1.TaskRunStatus) bool {
	if slices.ContainsFunc(s.Results, func(r v1.TaskRunResult) bool { return isDoubtful(r.Value) }) {
		return true
	}
	for i := range s.Steps {
		if slices.ContainsFunc(s.Steps[i].Results, func(r v1.TaskRunStepResult) bool { return isDoubtful(r.Value) }) {
			return true
		}
	}
	for i := range s.RetriesStatus {
		if doubtful(&s.RetriesStatus[i]) {
			return true
		}
	}
	return false
}

func isDoubtful(v v1.ParamValue) bool {
	switch v.Type {
	case v1.ParamTypeArray, v1.ParamTypeObject:
		return false
	case v1.ParamTypeString:
		return v.StringVal == "" || json.Valid([]byte(v.StringVal))
	}
	return true
}

// errNoArtifacts means that version v1beta1 has no field for what the TaskRun emitted.
var errNoArtifacts = fmt.Errorf("tekton.dev/v1beta1 has no place for the TaskRun's artifacts: " +
	"read it as v1 with kubectl get taskruns.v1.tekton.dev")

// lacksArtifacts reports whether a TaskRun, or an attempt of it, was read as v1beta1 and emitted artifacts,
// which that version loses.
func lacksArtifacts(old *v1beta1.TaskRun, tr *v1.TaskRun) bool {
	for i := range old.Status.Steps {
		if len(old.Status.Steps[i].Inputs)+len(old.Status.Steps[i].Outputs) > 0 {
			return true
		}
	}
	if emitsArtifacts(tr) {
		return true
	}
	for n := range min(verify.Attempts(tr), verify.MaxAttempts) {
		if attempt, err := verify.Attempt(tr, n); err == nil && emitsArtifacts(attempt) {
			return true
		}
	}
	return false
}

func emitsArtifacts(tr *v1.TaskRun) bool {
	steps, _ := verify.Inspect(tr)
	for _, s := range steps {
		for _, e := range s.Entries {
			if e.ResultType == result.StepArtifactsResultType || e.ResultType == result.TaskRunArtifactsResultType {
				return true
			}
		}
	}
	return false
}
