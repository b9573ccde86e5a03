// SPDX-License-Identifier: Apache-2.0

//go:build !race

package corpus_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
)

// edited are the parts of a TaskRun in which single edits are tried: all that whoever may write the status can write.
var edited = []string{"conditions", "retriesStatus", "taskSpec", "annotations", "provenance", "completionTime", "startTime"}

// reasons are what Succeeded is set to, beside made-up ones.
var reasons = []string{
	"Succeeded", "Completed", "Failed", "Whatever", "TaskRunCancelled", "TaskRunTimeout", "StepFailed", "StepOOM", "PodEvicted",
	"TaskRunValidationFailed", "TaskRunResultLargerThanAllowedLimit", verify.ReasonVerificationFailed, "FailureIgnored", "",
}

// Whatever single thing is changed in a file, or taken out of it, its verdict does not get better: from a file as it is, and with
// unrecorded evidence allowed.
func TestNoEditImprovesAVerdict(t *testing.T) {
	edits := 0
	for _, pattern := range recorded {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if filepath.Base(file) == bundleName || filepath.Ext(file) == ".yaml" {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			verifier := verifierOf(t, filepath.Join(filepath.Dir(file), bundleName))
			verdict := func(data []byte) verify.Verdict {
				tr, err := source.Decode(data)
				if err != nil {
					return verify.Failed
				}
				return verifier.TaskRun(t.Context(), tr, verify.Facts{}).Verdict
			}
			before := verdict(data)
			if before == verify.Failed {
				continue
			}
			for path, mutated := range editsOf(t, data) {
				edits++
				if after := verdict(mutated); better(after, before) {
					t.Errorf("%s: %s makes %s of %s", filepath.Base(file), path, after, before)
				}
			}
		}
	}
	if edits < 1000 {
		t.Errorf("only %d edits", edits)
	}
}

// better reports whether a verdict comes nearer to success. That all evidence is gone is none: UNSIGNED is no success either, and only
// NO_RESULTS does not count beside VERIFIED ones.
func better(after, before verify.Verdict) bool {
	success := func(v verify.Verdict) bool { return v == verify.Verified || v == verify.NoResults }
	return success(after) && !success(before) || after == verify.Verified && before == verify.NoResults
}

// editsOf returns every copy of a TaskRun with one edit.
func editsOf(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	all := mutations(t, data)
	var root map[string]any
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	status, ok := root["status"].(map[string]any)
	if !ok {
		t.Fatal("a TaskRun without status")
	}
	emit := func(path string, status map[string]any) {
		with := maps.Clone(root)
		with["status"] = status
		out, err := json.Marshal(with)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = out
	}
	for _, key := range slices.Sorted(maps.Keys(status)) {
		without := maps.Clone(status)
		delete(without, key)
		emit("status."+key+" removed", without)
	}
	for _, key := range edited {
		for path, value := range mutate("status."+key, status[key]) {
			with := maps.Clone(status)
			with[key] = value
			emit(path, with)
		}
	}
	for _, outcome := range []string{"True", "False", "Unknown"} {
		for _, reason := range reasons {
			with := maps.Clone(status)
			with["conditions"] = []any{map[string]any{"type": "Succeeded", "status": outcome, "reason": reason}}
			emit("Succeeded="+outcome+"/"+reason, with)
		}
	}
	return all
}
