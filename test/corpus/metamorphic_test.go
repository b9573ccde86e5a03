// SPDX-License-Identifier: Apache-2.0

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

	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// recorded are TaskRuns of a real cluster, each folder with the trust bundle that was exported beside them.
var recorded = []string{"../../docs/examples/build.yaml", "../../pkg/verify/testdata/recorded/*.json"}

// bundleName is the file with the keys in a folder of recorded TaskRuns.
const bundleName = "trust-bundle.json"

// harmless are the mutations that a verified TaskRun may bear, with the reason why they change nothing that is verified.
var harmless = []struct{ path, reason string }{
	{`status\.results swap \d+`, "results are told apart by name"},
	{`status\.steps\[\d+\]\.(results|inputs|outputs) swap \d+`, "so are step results and artifacts"},
	{`status\.steps\[\d+\]\.imageID.*`, "the kubelet reports it, no step knows the image it runs in"},
	{`status\.steps\[\d+\]\.terminated\.(startedAt|finishedAt|containerID).*`, "the container runtime reports them, no step knows them"},
	{`status\.steps\[\d+\]\.terminated\.reason.*`, "the runtime's word for the exit code, which is signed"},
	{`status\.steps\[\d+\]\.terminationReason.*`, "Tekton's word for the exit code, which is signed"},
	{`status\.steps\[\d+\]\.provenance.*`, "Tekton says where it took the step's definition from, no step knows it"},
}

// Whatever single thing is changed about what a verified TaskRun claims, it is no longer verified.
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
	verifier := verifierOf(t, filepath.Join(filepath.Dir(file), bundleName))
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if data, err = yaml.YAMLToJSON(data); err != nil {
		t.Fatal(err)
	}
	verdict := func(data []byte, facts verify.Facts) verify.Verdict {
		tr, err := source.Decode(data)
		if err != nil {
			return verify.Failed // what cannot be read is not verified
		}
		return verifier.TaskRun(t.Context(), tr, facts).Verdict
	}
	facts := verify.Facts{}
	if verdict(data, facts) != verify.Verified {
		if facts.Live = true; verdict(data, facts) != verify.Verified {
			return // an outcome that is not verified to begin with; pkg/verify tests those
		}
	}
	n := 0
	for path, mutated := range mutations(t, data) {
		n++
		if verdict(mutated, facts) == verify.Verified && !isHarmless(path, used) {
			t.Errorf("still VERIFIED: %s", path)
		}
	}
	if n < 50 {
		t.Errorf("only %d mutations", n)
	}
}

func isHarmless(path string, used map[string]bool) bool {
	for _, h := range harmless {
		if regexp.MustCompile("^" + h.path + "$").MatchString(path) {
			used[h.path] = true
			return true
		}
	}
	return false
}

func verifierOf(t testing.TB, bundle string) *verify.Verifier {
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
	v, err := verify.New(cluster)
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
		all[path+" negative"] = json.Number("-1")
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
