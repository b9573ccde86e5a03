// SPDX-License-Identifier: Apache-2.0

//go:build !race

package corpus_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// recorded are TaskRuns of a real cluster. Each folder also has the trust bundle.
var recorded = []string{"../../docs/examples/build.yaml", "../../pkg/verify/testdata/recorded/*.json"}

// bundleName is the file with the trust bundle in a folder of recorded TaskRuns.
const bundleName = "trust-bundle.json"

// exemption is a mutation after which a TaskRun may stay VERIFIED, with the reason why it changes nothing
// that is verified.
type exemption struct {
	path   string
	of     func(tr *v1.TaskRun, step int) bool // nil for every TaskRun
	reason string
}

var harmless = []exemption{
	{`status\.results swap \d+`, nil, "results are told apart by name"},
	{`status\.(steps\[\d+\]|artifacts)\.(results|inputs|outputs) swap \d+`, nil, "so are step results and artifacts"},
	{`status\.steps\[\d+\]\.imageID.*`, nil, "the kubelet reports it, no step knows the image it runs in"},
	{
		`status\.steps\[\d+\]\.terminated\.(startedAt|finishedAt|containerID).*`, nil,
		"the container runtime reports them, no step knows them",
	},
	{`status\.steps\[\d+\]\.terminated\.reason.*`, nil, "the runtime's word for the exit code, which is signed"},
	{`status\.steps\[\d+\]\.terminationReason.*`, nil, "Tekton's word for the exit code, which is signed"},
	{`status\.steps\[\d+\]\.terminated removed`, endedByTekton, "Tekton ended the step, which left nothing"},
	{
		`status\.steps\[\d+\]\.terminated\.message (removed|empty)`, killed,
		"a step that the kernel killed may have left nothing, and this one emitted nothing",
	},
	{
		`status\.artifacts(\.outputs(\[0\])?)? removed`, stopped,
		"Tekton does not always take over what a run emitted that it ended itself",
	},
}

func outcome(tr *v1.TaskRun) string { return tr.Status.GetCondition(apis.ConditionSucceeded).Reason }

// endedByTekton reports whether a step was still running when Tekton ended the TaskRun.
func endedByTekton(tr *v1.TaskRun, step int) bool {
	t := tr.Status.Steps[step].Terminated
	return stopped(tr, step) && t.Reason == outcome(tr) && !strings.HasPrefix(t.Message, "[")
}

func killed(tr *v1.TaskRun, step int) bool {
	return tr.Status.Steps[step].Terminated.Reason == "OOMKilled"
}

func stopped(tr *v1.TaskRun, _ int) bool {
	return outcome(tr) == string(v1.TaskRunReasonCancelled) || outcome(tr) == string(v1.TaskRunReasonTimedOut)
}

// Changing one thing that a VERIFIED TaskRun claims makes it no longer VERIFIED.
func TestMetamorphic(t *testing.T) {
	used, runs := map[string]bool{}, 0
	for _, pattern := range recorded {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if filepath.Base(file) == bundleName {
				continue
			}
			runs++
			t.Run(filepath.Base(file), func(t *testing.T) { mutateAll(t, file, used) })
		}
	}
	if runs == 0 {
		t.Fatal("no recorded TaskRun was found")
	}
	for _, h := range harmless {
		if !used[h.path] {
			t.Errorf("no mutation is harmless because of %s (%s): remove it from the list", h.path, h.reason)
		}
	}
}

func mutateAll(t *testing.T, file string, used map[string]bool) {
	t.Helper()
	verifier := verifierOf(t, filepath.Join(filepath.Dir(file), bundleName), verify.WithUnrecorded())
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(file) == ".yaml" {
		if data, err = yaml.YAMLToJSON(data); err != nil {
			t.Fatal(err)
		}
	}
	verdict := func(data []byte, facts verify.Facts) verify.Verdict {
		tr, err := source.Decode(data)
		if err != nil {
			return verify.Failed // unreadable input is not verified
		}
		return verifier.TaskRun(t.Context(), tr, facts).Verdict
	}
	facts := verify.Facts{}
	if verdict(data, facts) != verify.Verified {
		if facts.Live = true; verdict(data, facts) != verify.Verified {
			return // not VERIFIED from the start; pkg/verify tests those
		}
	}
	original, err := source.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, mutated := range mutations(t, data) {
		n++
		if verdict(mutated, facts) == verify.Verified && !isHarmless(original, path, used) {
			t.Errorf("still VERIFIED: %s", path)
		}
	}
	if n < 50 {
		t.Errorf("only %d mutations", n)
	}
}

func isHarmless(tr *v1.TaskRun, path string, used map[string]bool) bool {
	step := 0
	_, _ = fmt.Sscanf(path, "status.steps[%d]", &step) // stays 0 for the other paths
	for _, h := range harmless {
		if regexp.MustCompile("^"+h.path+"$").MatchString(path) && (h.of == nil || h.of(tr, step)) {
			used[h.path] = true
			return true
		}
	}
	return false
}

func verifierOf(t testing.TB, bundle string, options ...verify.Option) *verify.Verifier {
	t.Helper()
	data, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	b, err := trust.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := b.Cluster("")
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(cluster, options...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// mutated are the parts of a TaskRun that verification vouches for.
var mutated = [][]string{
	{"metadata", "uid"}, {"metadata", "name"}, {"metadata", "namespace"},
	{"status", "podName"}, {"status", "results"}, {"status", "steps"}, {"status", "artifacts"},
}

// mutations returns every copy of a TaskRun in which one thing is changed, by where and how.
func mutations(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	var root map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&root); err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, keys := range mutated {
		parent := root
		for _, key := range keys[:len(keys)-1] {
			parent, _ = parent[key].(map[string]any)
		}
		last := keys[len(keys)-1]
		value, ok := parent[last]
		if !ok {
			continue
		}
		emit := func(path string, replacement any, remove bool) {
			if remove {
				delete(parent, last)
			} else {
				parent[last] = replacement
			}
			out, err := json.Marshal(root)
			if err != nil {
				t.Fatal(err)
			}
			all[path] = out
			parent[last] = value
		}
		path := strings.Join(keys, ".")
		if !isZero(value) {
			emit(path+" removed", nil, true)
		}
		for where, replacement := range mutate(path, value) {
			emit(where, replacement, false)
		}
	}
	return all
}

// mutate returns every value that differs from value in one place.
func mutate(path string, value any) map[string]any {
	all := map[string]any{}
	switch v := value.(type) {
	case string:
		all[path+" longer"] = v + "x"
		all[path+" empty"] = ""
		if v != "" {
			all[path+" cut"] = v[:len(v)-1]
			all[path+" changed"] = string(v[0]^1) + v[1:]
		} else {
			delete(all, path+" empty")
		}
		maps.Copy(all, mutateMessage(path, v))
	case json.Number:
		all[path+" more"] = json.Number("1" + strings.TrimPrefix(string(v), "-"))
		if v != "-1" {
			all[path+" negative"] = json.Number("-1")
		}
	case bool:
		all[path+" inverted"] = !v
	case []any:
		mutateArray(all, path, v)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if !isZero(v[key]) {
				without := maps.Clone(v)
				delete(without, key)
				all[path+"."+key+" removed"] = without
			}
			for where, replacement := range mutate(path+"."+key, v[key]) {
				with := maps.Clone(v)
				with[key] = replacement
				all[where] = with
			}
		}
	}
	return all
}

// isZero reports whether leaving value out means the same as writing it.
func isZero(value any) bool {
	switch v := value.(type) {
	case string:
		return v == ""
	case json.Number:
		return v == "0"
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return value == nil
}

func mutateArray(all map[string]any, path string, v []any) {
	for i := range v {
		all[fmt.Sprintf("%s[%d] removed", path, i)] = slices.Delete(slices.Clone(v), i, i+1)
		all[fmt.Sprintf("%s[%d] twice", path, i)] = slices.Insert(slices.Clone(v), i, v[i])
		if i+1 < len(v) {
			swapped := slices.Clone(v)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			all[fmt.Sprintf("%s swap %d", path, i)] = swapped
		}
		for where, replacement := range mutate(fmt.Sprintf("%s[%d]", path, i), v[i]) {
			with := slices.Clone(v)
			with[i] = replacement
			all[where] = with
		}
	}
}

// mutateMessage changes the entries within a termination message.
func mutateMessage(path, text string) map[string]any {
	all := map[string]any{}
	var entries []any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if !strings.HasSuffix(path, ".message") || decoder.Decode(&entries) != nil {
		return all
	}
	for where, replacement := range mutate(path+" entry ", entries) {
		data, err := json.Marshal(replacement)
		if err == nil {
			all[where] = string(data)
		}
	}
	return all
}
