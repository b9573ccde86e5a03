// SPDX-License-Identifier: Apache-2.0

//go:build !race

package corpus_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
	"github.com/tekton-sign/kubectl-tekton-sign/test/corpus"
)

// edited are the parts of a TaskRun in which single edits are tried: everything that a writer of the status
// can write.
var edited = []string{"conditions", "retriesStatus", "taskSpec", "annotations", "provenance", "completionTime",
	"startTime"}

// reasons are the reasons of Succeeded to try, in addition to made-up ones.
var reasons = []string{
	"Succeeded", "Completed", "Failed", "Whatever", "TaskRunCancelled", "TaskRunTimeout", "StepFailed", "StepOOM",
	"PodEvicted",
	"TaskRunValidationFailed", "TaskRunResultLargerThanAllowedLimit", verify.ReasonVerificationFailed,
	"FailureIgnored", "",
}

// takenBack are cases of the corpus in which an edit can undo the attack.
var takenBack = []string{"success shown as running", "a name twice", "a step more", "a step's result more"}

// Changing or removing one thing in a file does not improve its verdict: neither that of the TaskRun nor, if
// earlier attempts are archived, the worst of all. That holds for files from a cluster, and for those of the
// corpus that are neither VERIFIED nor FAILED.
func TestNoEditImprovesAVerdict(t *testing.T) {
	var mutex sync.Mutex // protects edits and before
	edits, before := 0, map[verify.Verdict]int{}
	t.Cleanup(func() {
		if edits < 10_000 {
			t.Errorf("only %d edits", edits)
		}
		for _, v := range []verify.Verdict{verify.Verified, verify.Indeterminate, verify.Unsigned, verify.NoResults} {
			if before[v] == 0 {
				t.Errorf("no file is %s to begin with", v)
			}
		}
		t.Logf("%d edits of files that are %v", edits, before)
	})
	check := func(t *testing.T, v *verify.Verifier, data []byte, better func(after, before verify.Verdict) bool) {
		t.Helper()
		t.Parallel()
		own, all := verdictsOf(t.Context(), v, data)
		if own == verify.Failed && all == verify.Failed {
			return
		}
		mutated := editsOf(t, data)
		mutex.Lock()
		before[all]++
		edits += len(mutated)
		mutex.Unlock()
		for path, mutated := range mutated {
			if afterOwn, afterAll := verdictsOf(t.Context(), v, mutated); better(afterOwn, own) || better(afterAll, all) {
				t.Errorf("%s makes %s, with attempts %s, of %s and %s", path, afterOwn, afterAll, own, all)
			}
		}
	}
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
			bundle := filepath.Join(filepath.Dir(file), bundleName)
			t.Run(filepath.Base(file), func(t *testing.T) { check(t, verifierOf(t, bundle), data, betterUnrecorded) })
			t.Run(filepath.Base(file)+" unrecorded", func(t *testing.T) {
				check(t, verifierOf(t, bundle, verify.WithUnrecorded()), data, better)
			})
		}
	}
	for _, c := range middling(t) {
		t.Run(c.Name, func(t *testing.T) {
			bundle := filepath.Join(place(t, c), "bundle")
			check(t, verifierOf(t, bundle, verify.WithUnrecorded()), c.File, better)
		})
	}
}

// middling returns TaskRuns of the corpus in single files whose verdict an edit could improve, a few of each
// group.
func middling(t *testing.T) []corpus.Case {
	t.Helper()
	all, err := cases()
	if err != nil {
		t.Fatal(err)
	}
	const ofGroup = 1
	var some []corpus.Case
	taken := map[string]int{}
	for _, c := range all {
		group := path.Dir(c.Name) + string(c.Want.Check)
		between := c.Want.Verdict == verify.Indeterminate || c.Want.Verdict == verify.Unsigned ||
			c.Want.Verdict == verify.NoResults
		if !between || slices.Contains(takenBack, path.Base(c.Name)) || len(c.Args) > 0 || len(c.File) > 64<<10 ||
			c.File[0] != '{' || taken[group] == ofGroup {
			continue
		}
		if tr, err := source.Decode(c.File); err == nil && len(tr.Status.Conditions) > 0 {
			taken[group]++
			some = append(some, c)
		}
	}
	return some
}

// verdictsOf returns the verdict of a TaskRun in a file, and the worst of its own and its attempts', as the
// command verify adds them up.
func verdictsOf(ctx context.Context, v *verify.Verifier, data []byte) (own, all verify.Verdict) {
	tr, err := source.Decode(data)
	if err != nil {
		return verify.Failed, verify.Failed
	}
	facts := verify.Facts{Budget: verify.NewBudget()}
	own = v.TaskRun(ctx, tr, facts).Verdict
	all = own
	for n := range min(verify.Attempts(tr), verify.MaxAttempts) {
		if attempt, err := verify.Attempt(tr, n); err == nil && !verify.LeftNothing(attempt) {
			if verdict := v.TaskRun(ctx, attempt, facts).Verdict; verdict != verify.NoResults {
				all = verify.Worse(all, verdict)
			}
		}
	}
	return own, all
}

// better reports whether a verdict is closer to success. Losing all evidence is not: UNSIGNED is not success
// either, and only NO_RESULTS does not count among VERIFIED ones.
func better(after, before verify.Verdict) bool {
	success := func(v verify.Verdict) bool { return v == verify.Verified || v == verify.NoResults }
	return success(after) && !success(before) || after == verify.Verified && before == verify.NoResults
}

// betterUnrecorded is better for verifiers for which unrecorded evidence is INDETERMINATE. A TaskRun without
// results that loses its evidence has nothing to verify: NO_RESULTS. Users who require evidence in that case
// use --require-signed.
func betterUnrecorded(after, before verify.Verdict) bool {
	return better(after, before) && (after != verify.NoResults || before != verify.Indeterminate)
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
