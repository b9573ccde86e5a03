// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// burst is how many TaskRuns are started at once.
const burst = 60

// TestNightlySPIREBurst starts many TaskRuns at once: each of them signs. It measures how long a step waits for its
// SVID, also where TaskRuns are registered only when their pods run.
func TestNightlySPIREBurst(t *testing.T) {
	s := newSPIRESuite(t, spiretest.Add(t, testlab.SPIREOptions{}))
	s.enableSPIRE(t, "--svid-wait", "5m")
	t.Run("registered when the TaskRun is made", func(t *testing.T) {
		s.testBurst(t, burst, func(context.Context, *pipelinev1.TaskRun) {})
	})
	s.wantNoEntries(t)
	s.mustKubectl(t, append([]string{"tekton-sign", "enable", "--yes"},
		spireArgs("--svid-wait", "5m", "--spire-entries", "none")...)...)
	time.Sleep(5 * time.Second)
	entries := s.entryClient(t)
	t.Run("registered when the pod runs", func(t *testing.T) {
		s.testBurst(t, burst, func(ctx context.Context, tr *pipelinev1.TaskRun) {
			if s.podRuns(ctx, tr) {
				if err := entries.CreateEntries(ctx, tr, nil, time.Hour); err != nil {
					t.Errorf("registering TaskRun %s: %v", tr.Name, err)
				}
				t.Cleanup(func() { _ = entries.DeleteEntry(context.Background(), tr, nil) })
			}
		})
	})
}

// entryClient is an administrator of SPIRE's entries.
func (s *spireSuite) entryClient(t *testing.T) *spirecluster.Entries {
	t.Helper()
	var svid x509svid.Source = spiretest.Mint(t, s.Server, spire.ControllerID(), time.Hour)
	e, err := spirecluster.NewEntries(spirecluster.EntriesOptions{
		Address: s.Server.Address, ServerID: s.Server.ID().String(), TrustDomain: s.TrustDomain().Name(),
		Alias: "/tekton-node/", SVIDs: svid, Bundles: s.Bundle(t), Now: time.Now,
	})
	must(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// podRuns returns when the pod of a TaskRun runs.
func (s *spireSuite) podRuns(ctx context.Context, tr *pipelinev1.TaskRun) bool {
	for ctx.Err() == nil {
		pods, err := s.kube.CoreV1().Pods(tr.Namespace).List(ctx,
			metav1.ListOptions{LabelSelector: "tekton.dev/taskRun=" + tr.Name, ResourceVersion: "0"})
		if err == nil && len(pods.Items) > 0 && pods.Items[0].Status.Phase == corev1.PodRunning {
			return true
		}
		time.Sleep(500 * time.Millisecond)
	}
	return false
}

// testBurst starts the TaskRuns, each with one step that does nothing, and calls with for each of them.
func (s *spireSuite) testBurst(t *testing.T, n int, with func(context.Context, *pipelinev1.TaskRun)) {
	ns := s.scope(t, false)
	began := time.Now()
	ended := make(chan *pipelinev1.TaskRun)
	for range n {
		tr := emitting("", "x", "", 1)
		tr.GenerateName = "burst-"
		tr = s.start(t, ns, tr)
		go with(t.Context(), tr)
		go func() {
			defer func() { ended <- tr }()
			for end := time.Now().Add(8 * time.Minute); time.Now().Before(end) && !tr.IsDone(); time.Sleep(time.Second) {
				got, err := s.tekton.TektonV1().TaskRuns(ns).Get(context.Background(), tr.Name, metav1.GetOptions{})
				if err == nil {
					tr = got
				}
			}
		}()
	}
	var fromPod, inStep []time.Duration
	for range n {
		tr := <-ended
		wantSucceeded(t, tr)
		wantCondition(t, tr, "True", "TaskRunResultsVerified")
		pod, step := s.waited(t, tr)
		fromPod, inStep = append(fromPod, pod), append(inStep, step)
	}
	t.Logf("%d TaskRuns in %v", n, time.Since(began).Round(time.Second))
	logQuantiles(t, "from the start of the pod to the signature", fromPod)
	logQuantiles(t, "from the start of the step to the signature", inStep)
}

// waited returns how long after the start of the pod, and after that of its step, the step had signed. The signature
// names whole seconds.
func (s *spireSuite) waited(t *testing.T, tr *pipelinev1.TaskRun) (fromPod, inStep time.Duration) {
	t.Helper()
	pod := s.pod(t, tr.Namespace, tr.Status.PodName)
	var entries []struct{ Key, Value string }
	if err := json.Unmarshal([]byte(pod.Status.ContainerStatuses[0].State.Terminated.Message), &entries); err != nil {
		t.Fatalf("message of TaskRun %s: %v", tr.Name, err)
	}
	var signed, started time.Time
	for _, e := range entries {
		switch e.Key {
		case signing.CarrierManifest:
			header, err := signing.ParseManifest(e.Value)
			must(t, err)
			signed = header.SignedAt
		case "StartedAt":
			var err error
			started, err = time.Parse(time.RFC3339, e.Value)
			must(t, err)
		}
	}
	return signed.Sub(pod.Status.StartTime.Time), signed.Sub(started)
}

func logQuantiles(t *testing.T, what string, all []time.Duration) {
	t.Helper()
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))].Round(100 * time.Millisecond) }
	t.Logf("%s: p50 %v, p99 %v, longest %v", what, at(0.5), at(0.99), all[len(all)-1].Round(100*time.Millisecond))
}
