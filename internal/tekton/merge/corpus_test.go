// SPDX-License-Identifier: Apache-2.0

//go:build !race

package merge_test

import (
	"encoding/json"
	"flag"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/tektontest"
	"github.com/tekton-sign/kubectl-tekton-sign/test/corpus"
)

// cases makes the cases once, because keys and signatures take time.
var cases = sync.OnceValues(func() ([]corpus.Case, error) { return corpus.Generate(1) })

// corpusPods returns the pods of the corpus whose files have at most limit bytes.
func corpusPods(t testing.TB, limit int) []pod {
	t.Helper()
	all, err := cases()
	if err != nil {
		t.Fatal(err)
	}
	var pods []pod
	for _, c := range all {
		if len(c.File) <= limit {
			pods = append(pods, podsOf(c.File)...)
		}
	}
	return pods
}

// TestCorpus merges every TaskRun of the corpus, including hostile ones.
func TestCorpus(t *testing.T) {
	pods, c := corpusPods(t, 1<<20), tektontest.NewController()
	if len(pods) < 500 {
		t.Errorf("merged %d pods only", len(pods))
	}
	for _, p := range pods {
		compare(t, c, p)
	}
}

// FuzzMerge changes texts from the corpus: a Task's declaration, and two messages, which also travel by log.
func FuzzMerge(f *testing.F) {
	// A worker gets its inputs from the coordinator.
	if worker := flag.Lookup("test.fuzzworker"); worker == nil || worker.Value.String() != "true" {
		addCorpus(f)
	}
	c := tektontest.NewController()
	f.Fuzz(func(t *testing.T, spec, name, message, other, second, logName, logValue string, kind int) {
		p := pod{containers: []corev1.ContainerStatus{ended(name, message), ended(other, second)}, failed: kind&1 > 0}
		if json.Unmarshal([]byte(spec), &p.spec) != nil {
			return
		}
		if kind&2 > 0 {
			p.logged = []logged{
				{"", logName, logValue}, {"step-build", logName, logValue}, {name, "a", second}, {other, "", logValue}, {name, "",
					message},
			}
		}
		if kind&4 > 0 {
			p.containers = append(p.containers, ended(name, second))
		}
		compare(t, c, p)
	})
}

// addCorpus adds every declaration in the corpus with each of its first messages.
func addCorpus(f *testing.F) {
	f.Helper()
	seen := map[string]bool{}
	for i, p := range corpusPods(f, 16<<10) {
		spec, err := json.Marshal(p.spec)
		if err != nil {
			f.Fatal(err)
		}
		var messages [2]string
		names := [2]string{"step-build", "step-publish"}
		for i, s := range p.containers[:min(2, len(p.containers))] {
			names[i] = s.Name
			if s.State.Terminated != nil {
				messages[i] = s.State.Terminated.Message
			}
		}
		if key := string(spec) + messages[0]; !seen[key] && len(key) < 4096 {
			seen[key] = true
			f.Add(string(spec), names[0], messages[0], names[1], messages[1], "TAGS", messages[0], i%8)
		}
	}
}
