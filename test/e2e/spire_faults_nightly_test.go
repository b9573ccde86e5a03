// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// TestNightlySPIREFaults takes parts of SPIRE away: audit breaks no build, enforce accepts nothing, and what is shown
// names the next step.
func TestNightlySPIREFaults(t *testing.T) {
	s := newSPIRESuite(t, spiretest.Add(t, testlab.SPIREOptions{}))
	s.enableSPIRE(t, "--svid-wait", "12s") // an entry takes up to ten seconds to reach the agent
	audit, enforce := s.scope(t, false), s.scope(t, true)
	t.Run("server down", func(t *testing.T) {
		must(t, s.Server.Stop(t.Context()))
		t.Cleanup(func() { must(t, s.Server.Start(context.Background())) })
		s.wantUnsignedIn(t, audit, enforce, "check its entries (spire-server entry show) and the log of the add-on")
		s.wantAddOnEvent(t, "cannot be reached: check the server, spire-server-addr in ConfigMap config-spire")
	})
	t.Run("agent down", func(t *testing.T) {
		must(t, s.Agent.Stop(t.Context()))
		t.Cleanup(func() { must(t, s.Agent.Start(context.Background())) })
		s.wantUnsignedIn(t, audit, enforce, "SPIRE's agent on this node does not answer: check its pod and the CSI driver")
	})
	t.Run("agent restarted during a step", func(t *testing.T) { s.testAgentRestarted(t, audit) })
	t.Run("entry changed by hand", func(t *testing.T) {
		tr := s.finishWithoutEntry(t, audit)
		wantReport(t, tr, "x")
		wantUnsigned(t, s.cluster, tr, "svid-timeout")
		s.wantLogged(t, tr, "check its entries (spire-server entry show)")
	})
	t.Run("entry deleted by hand", func(t *testing.T) { s.testEntryDeleted(t, audit) })
	t.Run("wrong trust domain in config-spire", func(t *testing.T) {
		s.setConfig(t, map[string]string{"spire-trust-domain": "wrong.test"})
		time.Sleep(5 * time.Second) // until the add-on goes by it
		s.wantUnsignedIn(t, audit, enforce, "expected the SVID spiffe://wrong.test/ns/"+audit)
		s.wantAddOnEvent(t, `expected trust domain "wrong.test", as in ConfigMap config-spire, got an SVID of "lab.test"`)
	})
	t.Run("all is well again", func(t *testing.T) {
		time.Sleep(10 * time.Second) // until the add-on goes by the restored settings
		tr := s.finish(t, enforce, another(t, "results"))
		wantSucceeded(t, tr)
		wantCondition(t, tr, "True", "TaskRunResultsVerified")
	})
	s.wantNoEntries(t)
}

// testEntryDeleted deletes the entry of a TaskRun that runs for longer than the pause between two sweeps of the add-on.
func (s *spireSuite) testEntryDeleted(t *testing.T, ns string) {
	tr := s.start(t, ns, emitting("deleted", "x", "; sleep 340", 1))
	s.DeleteEntry(t, s.awaitEntry(t, tr).ID)
	s.wantGone(t, tr)
	s.mustKubectl(t, "wait", "-n", ns, "taskrun/"+tr.Name, "--for=condition=Succeeded", "--timeout=8m")
	s.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns)
}

// wantUnsignedIn wants a TaskRun to succeed unsigned under audit and to fail under enforce, and its log to say what to
// do.
func (s *spireSuite) wantUnsignedIn(t *testing.T, audit, enforce, log string) {
	t.Helper()
	a := s.start(t, audit, another(t, "results"))
	e := s.start(t, enforce, another(t, "results"))
	a = s.watchUntil(t, a, "is done", (*pipelinev1.TaskRun).IsDone)
	wantSucceeded(t, a)
	wantResultNames(t, a, "digest", "tags", "image")
	wantUnsigned(t, s.cluster, a, "svid-timeout")
	s.wantLogged(t, a, log)
	wantEnforced(t, s.watchUntil(t, e, "is done", (*pipelinev1.TaskRun).IsDone), "UNSIGNED: svid-timeout")
}

func (s *spireSuite) wantLogged(t *testing.T, tr *pipelinev1.TaskRun, text string) {
	t.Helper()
	logs := s.mustKubectl(t, "logs", "-n", tr.Namespace, tr.Status.PodName, "--all-containers")
	if !strings.Contains(logs, text) {
		t.Errorf("TaskRun %s: expected the log to say %q, got:\n%s", tr.Name, text, logs)
	}
}

// wantAddOnEvent wants an event beside the add-on.
func (s *spireSuite) wantAddOnEvent(t *testing.T, text string) {
	t.Helper()
	events, err := s.kube.CoreV1().Events("tekton-sign").List(t.Context(), metav1.ListOptions{})
	must(t, err)
	var all []string
	for _, e := range events.Items {
		if e.Reason == "TaskRunNotRegistered" && strings.Contains(e.Message, text) {
			return
		}
		all = append(all, e.Reason+": "+e.Message)
	}
	t.Errorf("expected an event TaskRunNotRegistered with %q, got:\n%s", text, strings.Join(all, "\n"))
}

// testAgentRestarted restarts the agent while a step runs.
func (s *spireSuite) testAgentRestarted(t *testing.T, ns string) {
	tr := s.start(t, ns, emitting("restarted", "x", "; sleep 15", 1))
	tr = s.watchUntil(t, tr, "runs", func(tr *pipelinev1.TaskRun) bool {
		return len(tr.Status.Steps) == 1 && tr.Status.Steps[0].Running != nil
	})
	s.RestartAgent(t)
	tr = s.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
	wantReport(t, tr, "x")
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
}
