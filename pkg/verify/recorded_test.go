// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// recordings holds TaskRuns of a real cluster with a stock Tekton controller, and its trust bundle. The end-to-end test
// TestReplay writes them with -update.
const recordings = "testdata/recorded"

// recordedVerifier trusts the keys of the cluster on which the TaskRuns were recorded, on the day after.
func recordedVerifier(t testing.TB) *verify.Verifier {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordings, "trust-bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := trust.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	recorded := readRecorded(t, "types").Status.CompletionTime.Time
	v, err := verify.New(&bundle.Clusters[0], verify.WithClock(func() time.Time { return recorded.Add(24 * time.Hour) }),
		verify.WithUnrecorded())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readRecorded reads a TaskRun as the plugin reads files.
func readRecorded(t testing.TB, name string) *v1.TaskRun {
	t.Helper()
	f, err := os.Open(filepath.Join(recordings, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for object := range source.Read(f) {
		tr, err := object.TaskRun()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return tr
	}
	t.Fatalf("%s: no TaskRun", name)
	return nil
}

// allRecorded lists the recordings for every way of passing results.
func allRecorded() []verifytest.Recorded {
	return slices.Concat(verifytest.RecordedPlain(), verifytest.RecordedCompressed(), verifytest.RecordedSidecar())
}

func TestRecorded(t *testing.T) {
	v := recordedVerifier(t)
	for _, r := range allRecorded() {
		t.Run(r.Name, func(t *testing.T) {
			tr := readRecorded(t, r.Name)
			want := func(how string, want verifytest.Outcome, tr *v1.TaskRun, facts verify.Facts) {
				got := v.TaskRun(t.Context(), tr, facts)
				if !r.Accepts(want, verifytest.OutcomeOf(got)) {
					checks, _ := json.MarshalIndent(got.Checks, "", " ")
					t.Errorf("%s: %s, want %s\n%s", how, verifytest.OutcomeOf(got), want, checks)
				}
			}
			want("live", r.Live, tr, verify.Facts{Live: true})
			want("from a file", r.FromFile(), tr, verify.Facts{})
			for n, outcome := range r.Attempts {
				attempt, err := verify.Attempt(tr, n)
				if err != nil {
					t.Fatal(err)
				}
				want("archived attempt", outcome, attempt, verify.Facts{})
			}
		})
	}
}

// Every recording is in the tables, and every entry of the tables has a recording.
func TestRecordedIsComplete(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordings, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); name != "trust-bundle" {
			got = append(got, name)
		}
	}
	for _, r := range allRecorded() {
		want = append(want, r.Name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the tables and the folder differ (-tables +folder): record them with TestReplay -update\n%s", diff)
	}
}

func TestRecordedTampered(t *testing.T) {
	v := recordedVerifier(t)
	for _, c := range verifytest.Tamperings() {
		t.Run(c.Recorded+"/"+c.Name, func(t *testing.T) {
			tr := readRecorded(t, c.Recorded)
			before := tr.DeepCopy()
			c.Change(tr)
			if cmp.Equal(before, tr) {
				t.Fatal("nothing is changed")
			}
			if got := verifytest.OutcomeOf(v.TaskRun(t.Context(), tr, verify.Facts{})); got != c.Want {
				t.Errorf("%s, want %s", got, c.Want)
			}
		})
	}
}
