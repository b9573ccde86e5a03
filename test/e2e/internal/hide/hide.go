// SPDX-License-Identifier: Apache-2.0

// Package hide is a client's view of a cluster in which nothing can be seen of the add-on: what it adds to TaskRuns
// is taken out of the API server's answers, and everything else passes as it is. Tests that know nothing of the
// add-on run through it.
package hide

import (
	"encoding/json"
	"slices"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// TaskRun takes out of a TaskRun of any version what the add-on and the signer add to it.
func TaskRun(tr map[string]any) {
	if s, ok := tr["status"].(map[string]any); ok {
		status(s)
	}
}

// status takes it out of the status of an attempt, and of those before.
func status(s map[string]any) {
	if annotations, ok := s["annotations"].(map[string]any); ok {
		n := len(annotations)
		delete(annotations, record.Annotation)
		delete(annotations, seal.Annotation)
		if n > 0 && len(annotations) == 0 {
			delete(s, "annotations")
		}
	}
	without(s, "conditions", func(c map[string]any) bool { return c["type"] == string(verify.ConditionType) })
	for _, results := range []string{"results", "taskResults"} { // v1, v1beta1
		without(s, results, func(r map[string]any) bool {
			name, _ := r["name"].(string)
			return signing.IsReserved(name)
		})
	}
	for _, step := range objects(s["steps"]) {
		if terminated, ok := step["terminated"].(map[string]any); ok {
			message(terminated)
		}
	}
	for _, attempt := range objects(s["retriesStatus"]) {
		status(attempt)
	}
}

// message takes the carriers of evidence out of the termination message of a step. Tekton writes none where nothing
// is left.
func message(terminated map[string]any) {
	text, _ := terminated["message"].(string)
	var entries []json.RawMessage
	if json.Unmarshal([]byte(text), &entries) != nil {
		return
	}
	n := len(entries)
	entries = slices.DeleteFunc(entries, func(entry json.RawMessage) bool {
		var r result.RunResult
		return json.Unmarshal(entry, &r) == nil && signing.IsCarrier(r)
	})
	switch len(entries) {
	case n:
	case 0:
		delete(terminated, "message")
	default:
		if rest, err := json.Marshal(entries); err == nil {
			terminated["message"] = string(rest)
		}
	}
}

// without removes from a list those of its objects that are ours, and the list if nothing else is in it.
func without(in map[string]any, list string, ours func(map[string]any) bool) {
	all, _ := in[list].([]any)
	rest := slices.DeleteFunc(slices.Clone(all), func(value any) bool {
		object, ok := value.(map[string]any)
		return ok && ours(object)
	})
	switch {
	case len(rest) == len(all):
	case len(rest) == 0:
		delete(in, list)
	default:
		in[list] = rest
	}
}

func objects(list any) []map[string]any {
	var all []map[string]any
	values, _ := list.([]any)
	for _, value := range values {
		if object, ok := value.(map[string]any); ok {
			all = append(all, object)
		}
	}
	return all
}
