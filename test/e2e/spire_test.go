// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// spireSuite is a cluster in which SVIDs of SPIRE sign.
type spireSuite struct {
	*cluster
	*spiretest.SPIRE
}

// TestSPIRE signs with SVIDs of the lab's SPIRE.
func TestSPIRE(t *testing.T) {
	s := newSPIRESuite(t, spiretest.Add(t, testlab.SPIREOptions{}))
	s.enableSPIRE(t)
	t.Run("on", func(t *testing.T) {
		t.Run("same outcome", func(t *testing.T) { t.Parallel(); s.testOutcomes(t, false) })
		t.Run("verify", func(t *testing.T) { t.Parallel(); s.testVerify(t) })
		t.Run("tampered status", func(t *testing.T) { t.Parallel(); s.testForged(t) })
		t.Run("signed status", func(t *testing.T) { t.Parallel(); s.testSignedStatus(t) })
		t.Run("checks", func(t *testing.T) { t.Parallel(); s.testChecks(t) })
		t.Run("bundle endpoint", func(t *testing.T) { t.Parallel(); s.testEndpoint(t) })
		t.Run("enforced", func(t *testing.T) { t.Parallel(); s.testEnforced(t) })
	})
	t.Run("no entry is left", func(t *testing.T) { s.wantNoEntries(t) })
}

// newSPIRESuite points Tekton's ConfigMap config-spire at a SPIRE until the test ends.
func newSPIRESuite(t *testing.T, deployed *spiretest.SPIRE) *spireSuite {
	t.Helper()
	s := &spireSuite{open(t), deployed}
	s.setConfig(t, map[string]string{"spire-trust-domain": s.TrustDomain().Name(), "spire-server-addr": s.Server.Address})
	return s
}

// setConfig sets keys of config-spire until the test ends.
func (s *spireSuite) setConfig(t *testing.T, data map[string]string) {
	t.Helper()
	maps := s.kube.CoreV1().ConfigMaps("tekton-pipelines")
	before, err := maps.Get(t.Context(), "config-spire", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	old := map[string]*string{} // nil: the key goes
	for key := range data {
		old[key] = nil
		if value, ok := before.Data[key]; ok {
			old[key] = &value
		}
	}
	set := func(ctx context.Context, data any) {
		patch, err := json.Marshal(map[string]any{"data": data})
		if err == nil {
			_, err = maps.Patch(ctx, "config-spire", types.MergePatchType, patch, metav1.PatchOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set(t.Context(), data)
	t.Cleanup(func() { set(context.Background(), old) })
}

// enableSPIRE turns the backend on until the test ends.
func (s *spireSuite) enableSPIRE(t *testing.T, more ...string) {
	t.Helper()
	s.enableWith(t, spireArgs(more...)...)
}

func spireArgs(more ...string) []string {
	return append([]string{"spire", "--receipts", "never", "--namespace-selector", selector}, more...)
}

// scope creates a namespace in scope; with enforcement if so asked.
func (s *spireSuite) scope(t *testing.T, enforced bool) string {
	t.Helper()
	ns := s.receiptNamespace(t)
	if enforced {
		s.mustKubectl(t, "label", "namespace", ns, "tekton-sign.dev/enforcement=enforce")
	}
	return ns
}

// testOutcomes runs the table of all backends.
func (s *spireSuite) testOutcomes(t *testing.T, enforced bool) {
	for _, oc := range outcomeCases() {
		t.Run(oc.fixture, func(t *testing.T) { t.Parallel(); s.testOutcome(t, oc, enforced) })
	}
}

func (s *spireSuite) testOutcome(t *testing.T, oc outcomeCase, enforced bool) {
	signed, plain := s.scope(t, enforced), s.namespace(t, false)
	got, _ := s.sameOutcome(t, signed, plain, oc)
	wantWrapped(t, s.cluster, got)
	s.verify(t, oc.verdict, oc.code, "taskrun/"+got.Name, "-n", signed)
	if oc.verdict == "VERIFIED" {
		wantCondition(t, got, "True", "TaskRunResultsVerified")
	}
}

// testVerify verifies one TaskRun live and offline, and copies of it that were tampered with.
func (s *spireSuite) testVerify(t *testing.T) {
	ns := s.scope(t, false)
	tr := s.finish(t, ns, fixture(t, "results"))
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	if r := s.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns); r.Items[0].Assurance != "workload-identity" {
		t.Errorf("assurance is %q, want workload-identity", r.Items[0].Assurance)
	}
	s.wantGone(t, tr)
	s.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns)

	dir := t.TempDir()
	bundle, file := filepath.Join(dir, "bundle.json"), filepath.Join(dir, "taskrun.yaml")
	writeFile(t, bundle, s.mustKubectl(t, "tekton-sign", "trust", "export"))
	s.recorded(t, tr)
	writeFile(t, file, s.mustKubectl(t, "get", "taskrun", tr.Name, "-n", ns, "-o", "yaml"))
	s.verify(t, "VERIFIED", 0, "-f", file, "--trust-bundle", bundle)
	for _, tc := range tamperings() {
		if tc.check == "key" {
			continue // it is about tokens
		}
		t.Run(tc.name, func(t *testing.T) {
			bad := tr.DeepCopy()
			bad.APIVersion, bad.Kind = "tekton.dev/v1", "TaskRun"
			tc.tamper(t, bad)
			file := filepath.Join(dir, strings.ReplaceAll(tc.name, " ", "-")+".yaml")
			writeFile(t, file, describe(bad))
			r := s.verify(t, "FAILED", 4, "-f", file, "--trust-bundle", bundle)
			if failed := r.failedChecks(); tc.name != "another name" && !slices.Contains(failed, tc.check) {
				t.Errorf("failed checks are %v, want %s", failed, tc.check)
			}
		})
	}
}

// testForged changes a status through the API.
func (s *spireSuite) testForged(t *testing.T) {
	ns := s.scope(t, false)
	tr := s.finish(t, ns, fixture(t, "results"))
	patch := []byte(`[{"op":"replace","path":"/status/results/0/value","value":"forged"}]`)
	patched, err := s.tekton.TektonV1().TaskRuns(ns).Patch(t.Context(), tr.Name, types.JSONPatchType, patch,
		metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	wantCondition(t, patched, "False", "TaskRunResultsVerificationFailed")
	s.verify(t, "FAILED", 4, "taskrun/"+tr.Name, "-n", ns)
}

// testEnforced accepts what is signed, and nothing else: a step gets no SVID where somebody changes the entry.
func (s *spireSuite) testEnforced(t *testing.T) {
	ns := s.scope(t, true)
	tr := s.finish(t, ns, fixture(t, "results"))
	wantSucceeded(t, tr)
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	wantResultNames(t, tr, "digest", "tags", "image")

	unsigned := s.finishWithoutEntry(t, ns)
	wantEnforced(t, unsigned, "UNSIGNED: svid-timeout")
}

// finishWithoutEntry runs a TaskRun whose entry is given to other pods long before its step ends. If it were deleted,
// the add-on could register the TaskRun again in time.
func (s *spireSuite) finishWithoutEntry(t *testing.T, ns string) *pipelinev1.TaskRun {
	t.Helper()
	tr := s.start(t, ns, emitting("without", "x", "; sleep 25", 1))
	entry := s.awaitEntry(t, tr)
	time.Sleep(2 * time.Second) // an event that came during the registration registers the TaskRun once more
	entry.Selectors = []string{"k8s:ns:elsewhere"}
	s.UpdateEntry(t, entry)
	return s.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
}

// entryOf returns a TaskRun's entry, if there is one.
func (s *spireSuite) entryOf(t *testing.T, tr *pipelinev1.TaskRun) (entry spire.Entry, ok bool) {
	t.Helper()
	all := s.Entries(t)
	i := slices.IndexFunc(all, func(e spire.Entry) bool { return strings.HasSuffix(e.ID, string(tr.UID)) })
	if i < 0 {
		return spire.Entry{}, false
	}
	return all[i], true
}

func (s *spireSuite) awaitEntry(t *testing.T, tr *pipelinev1.TaskRun) (entry spire.Entry) {
	t.Helper()
	s.eventually(t, "the entry of TaskRun "+tr.Name, func(context.Context) (ok bool, _ error) {
		entry, ok = s.entryOf(t, tr)
		return ok, nil
	})
	return entry
}

func (s *spireSuite) wantGone(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	s.eventually(t, "the entry of TaskRun "+tr.Name+" to go", func(context.Context) (bool, error) {
		_, ok := s.entryOf(t, tr)
		return !ok, nil
	})
}

// wantNoEntries wants none but the operator's and the alias of the agents.
func (s *spireSuite) wantNoEntries(t *testing.T) {
	t.Helper()
	var left []string
	s.eventually(t, "the entries of TaskRuns to go", func(context.Context) (bool, error) {
		left = nil
		for _, e := range s.Entries(t) {
			if strings.Contains(e.SPIFFEID.Path(), "/taskrun/") {
				left = append(left, e.SPIFFEID.String())
			}
		}
		return len(left) == 0, nil
	})
}
