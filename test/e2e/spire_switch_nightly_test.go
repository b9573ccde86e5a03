// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// TestNightlySPIRESwitch changes the backend to oidc-sa-token and back while TaskRuns run: each of them verifies by the
// backend that its pod was made with.
func TestNightlySPIRESwitch(t *testing.T) {
	s := newSPIRESuite(t, spiretest.Add(t, testlab.SPIREOptions{}))
	s.enableSPIRE(t)
	ns := s.scope(t, false)
	ctx, stop := context.WithCancel(t.Context())
	var started []*pipelinev1.TaskRun
	var group sync.WaitGroup
	group.Go(func() { started = s.startSteadily(ctx, t, ns) })
	spire := append([]string{"tekton-sign", "enable", "--yes"}, spireArgs()...)
	for _, args := range [][]string{enableArgs("--yes"), spire, enableArgs("--yes")} {
		time.Sleep(5 * time.Second)
		if out := s.kubectl(t, args...); out.code != 0 {
			t.Errorf("%s: %s", strings.Join(args, " "), out)
		}
	}
	time.Sleep(5 * time.Second)
	stop()
	group.Wait()
	by := map[string]int{}
	for _, tr := range started {
		t.Run(tr.Name, func(t *testing.T) { by[s.verifySwitched(t, tr)]++ })
	}
	left := 0
	for _, e := range s.Entries(t) { // of TaskRuns that ran when the add-on's pods were replaced: these have no SVID
		if strings.Contains(e.SPIFFEID.Path(), "/taskrun/") {
			left++
		}
		soon := !e.ExpiresAt.IsZero() && time.Until(e.ExpiresAt) < 3*time.Hour
		if strings.Contains(e.SPIFFEID.Path(), "/taskrun/") && !soon {
			t.Errorf("expected entry %s to expire soon, got %v", e.ID, e.ExpiresAt)
		}
	}
	if by["spire"] == 0 || by["oidc-sa-token"] == 0 {
		t.Errorf("TaskRuns by backend: expected some of each, got %v", by)
	}
	if left > mostAtOnce {
		t.Errorf("expected entries of TaskRuns that ran during the switch at most, %d, got %d", mostAtOnce, left)
	}
	t.Logf("TaskRuns by backend: %v; %d entries left", by, left)
}

// mostAtOnce is about how many TaskRuns run at a time.
const mostAtOnce = 6

// startSteadily starts a TaskRun every second. Every third one runs for long.
func (s *spireSuite) startSteadily(ctx context.Context, t *testing.T, ns string) (started []*pipelinev1.TaskRun) {
	for n := 0; ctx.Err() == nil; n++ {
		if n >= mostAtOnce { // a slow node must not gather TaskRuns
			s.pauseUntilDone(ctx, started[n-mostAtOnce])
		}
		tr := emitting("", "x", []string{"", "", "; sleep 20"}[n%3], 1)
		tr.GenerateName = "switched-"
		tr, err := s.tekton.TektonV1().TaskRuns(ns).Create(context.WithoutCancel(ctx), tr, metav1.CreateOptions{})
		if err != nil {
			t.Errorf("starting a TaskRun: %v", err)
			return started
		}
		started = append(started, tr)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return started
}

// pauseUntilDone returns when a TaskRun is done, or ctx ends.
func (s *spireSuite) pauseUntilDone(ctx context.Context, tr *pipelinev1.TaskRun) {
	for ctx.Err() == nil {
		got, err := s.tekton.TektonV1().TaskRuns(tr.Namespace).Get(ctx, tr.Name, metav1.GetOptions{})
		if err == nil && got.IsDone() {
			return
		}
		time.Sleep(time.Second)
	}
}

// verifySwitched wants a TaskRun to verify by the backend that is among the arguments of its signer, and returns that.
func (s *spireSuite) verifySwitched(t *testing.T, tr *pipelinev1.TaskRun) (backend string) {
	t.Helper()
	tr = s.watchUntil(t, s.now(t, tr), "is done", (*pipelinev1.TaskRun).IsDone)
	wantSucceeded(t, tr)
	args := s.pod(t, tr.Namespace, tr.Status.PodName).Spec.Containers[0].Args
	backend = "none"
	for _, known := range []string{"spire", "oidc-sa-token"} {
		if slices.Contains(args, known) {
			backend = known
		}
	}
	t.Logf("created %s, backend of its pod: %s", tr.CreationTimestamp.UTC().Format(time.TimeOnly), backend)
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	assurance := map[string]string{"spire": "workload-identity", "oidc-sa-token": "payload-bound"}[backend]
	if r := s.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", tr.Namespace); r.Items[0].Assurance != assurance {
		t.Errorf("TaskRun %s: assurance is %q, want %q of backend %s", tr.Name, r.Items[0].Assurance, assurance, backend)
	}
	return backend
}

// now returns a TaskRun as it is.
func (s *spireSuite) now(t *testing.T, tr *pipelinev1.TaskRun) *pipelinev1.TaskRun {
	t.Helper()
	got, err := s.tekton.TektonV1().TaskRuns(tr.Namespace).Get(t.Context(), tr.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
