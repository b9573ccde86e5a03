// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// managedRuns is how many TaskRuns are started one after the other, and at once, registered in either way.
const managedRuns = 20

// byManager leaves the registration to spire-controller-manager.
var byManager = []string{"--spire-entries", "controller-manager", "--svid-wait", "5m"}

// TestNightlySPIREManager has spire-controller-manager register TaskRuns and the add-on, which is no admin. It
// measures how long a step waits for its SVID, beside the add-on's own registration.
func TestNightlySPIREManager(t *testing.T) {
	plain := newSPIRESuite(t, spiretest.Replace(t, testlab.SPIREOptions{}))
	plain.wantManagerMissing(t)
	removeSPIRELater(t)
	s := newSPIRESuite(t, spiretest.Replace(t, testlab.SPIREOptions{ControllerManager: true}))
	s.enableSPIRE(t, "--svid-wait", "5m")
	t.Run("by the add-on", s.testWaits)
	s.wantNoEntries(t)
	s.dropAdmin(t)
	s.enableAgain(t, byManager...)
	t.Run("by the controller manager", s.testWaits)
	t.Run("outcomes", s.testManaged)
	t.Run("changed by hand", s.testManagerDrift)
	t.Run("gone with another setting", s.testManagerGone)
}

// testWaits starts TaskRuns with one step that does nothing, at once and one after the other, and measures how long a
// pod takes to sign.
func (s *spireSuite) testWaits(t *testing.T) {
	s.testBurst(t, managedRuns, func(context.Context, *pipelinev1.TaskRun) {})
	ns := s.scope(t, false)
	var all []time.Duration
	for range managedRuns {
		tr := emitting("", "x", "", 1)
		tr.GenerateName = "single-"
		tr = s.start(t, ns, tr)
		all = append(all, s.stepTime(t, tr))
		tr = s.watchUntil(t, s.now(t, tr), "is done", (*pipelinev1.TaskRun).IsDone)
		wantCondition(t, tr, "True", "TaskRunResultsVerified")
	}
	logQuantiles(t, "one by one, from the start of the pod to the end of its step, which signs", all)
}

// stepTime returns how long after the kubelet has accepted the pod of a TaskRun its step has ended.
func (s *spireSuite) stepTime(t *testing.T, tr *pipelinev1.TaskRun) time.Duration {
	t.Helper()
	var started time.Time
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		pods, err := s.kube.CoreV1().Pods(tr.Namespace).List(t.Context(),
			metav1.ListOptions{LabelSelector: "tekton.dev/taskRun=" + tr.Name, ResourceVersion: "0"})
		must(t, err)
		if len(pods.Items) == 0 || pods.Items[0].Status.StartTime == nil {
			continue
		}
		if started.IsZero() {
			started = time.Now()
		}
		if c := pods.Items[0].Status.ContainerStatuses; len(c) > 0 && c[0].State.Terminated != nil {
			return time.Since(started)
		}
	}
	t.Fatalf("the step of TaskRun %s does not end", tr.Name)
	return 0
}

// removeSPIRELater removes the SPIRE of the test when that has ended.
func removeSPIRELater(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var out []byte
		for range 20 { // while pods end that have a volume of the driver
			var err error
			if out, err = exec.Command("../../bin/lab", "remove", "spire").CombinedOutput(); err == nil {
				return
			}
			time.Sleep(3 * time.Second)
		}
		t.Errorf("removing SPIRE: %s", out)
	})
}

func (s *spireSuite) enableAgain(t *testing.T, more ...string) {
	t.Helper()
	s.mustKubectl(t, append([]string{"tekton-sign", "enable", "--yes"}, spireArgs(more...)...)...)
	time.Sleep(5 * time.Second) // until the add-on goes by the settings
}

// wantManagerMissing wants a refusal on a cluster without the CRDs.
func (s *spireSuite) wantManagerMissing(t *testing.T) {
	t.Helper()
	out := s.kubectl(t, append([]string{"tekton-sign", "enable", "--yes"}, spireArgs(byManager...)...)...)
	if out.code != 1 || !strings.Contains(out.stderr, "install spire-controller-manager") ||
		!strings.Contains(out.stderr, "nothing was changed") {
		t.Errorf("expected a refusal without the CRDs, got %s", out)
	}
}

// dropAdmin deletes the operator's entry that makes the add-on an admin.
func (s *spireSuite) dropAdmin(t *testing.T) {
	t.Helper()
	for _, e := range s.Entries(t) {
		if e.SPIFFEID == spire.ControllerID() {
			s.DeleteEntry(t, e.ID)
		}
	}
}

// testManaged signs in audit and enforce, and nothing of the add-on's own is registered.
func (s *spireSuite) testManaged(t *testing.T) {
	for _, enforced := range []bool{false, true} {
		tr := s.finish(t, s.scope(t, enforced), another(t, "results"))
		wantSucceeded(t, tr)
		wantCondition(t, tr, "True", "TaskRunResultsVerified")
		if e, ok := s.entryOf(t, tr); ok {
			t.Errorf("the add-on has registered TaskRun %s: %s", tr.Name, e.ID)
		}
	}
	s.wantStatusLine(t, "backend", "spire-controller-manager registers TaskRuns, best effort")
	for _, e := range s.Entries(t) {
		if e.SPIFFEID == spire.ControllerID() && e.Admin {
			t.Errorf("the add-on is an admin by entry %s", e.ID)
		}
	}
}

// testManagerDrift changes the object by hand: status shows it, enable puts it right.
func (s *spireSuite) testManagerDrift(t *testing.T) {
	s.mustKubectl(t, "patch", "clusterspiffeid", "tekton-sign-taskruns", "--type", "merge", "-p",
		`{"spec":{"podSelector":null}}`)
	s.wantStatusLine(t, "objects", "was changed")
	s.enableAgain(t, byManager...)
	if out := s.kubectl(t, "tekton-sign", "status", "-o", "json"); strings.Contains(out.stdout, "was changed") {
		t.Errorf("expected enable to repair it, got %s", out)
	}
}

// testManagerGone turns to another way: the objects go, and the entries with them.
func (s *spireSuite) testManagerGone(t *testing.T) {
	s.enableAgain(t, "--spire-entries", "none")
	resource := spirecluster.ManagerKind().GroupVersion().WithResource("clusterspiffeids")
	list, err := s.dynamic.Resource(resource).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	if len(list.Items) > 0 {
		t.Errorf("expected no ClusterSPIFFEIDs, got %d", len(list.Items))
	}
	s.wantNoEntries(t)
}
