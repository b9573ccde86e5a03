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

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// Bounds of TestNightlySPIREWithoutDriver.
const (
	withoutDriver = 2 * time.Minute // of the first TaskRun in audit: one minute, and the pods of both attempts
	afterOthers   = time.Minute     // of later ones on the same node
	driverBack    = 7 * time.Minute // until pods get the signer again: five minutes, and the interval
)

// TestNightlySPIREWithoutDriver takes the CSI driver away. In audit the first TaskRun is delayed, and the next ones are
// not, or less in another namespace. In enforce none runs. Once the driver is back, results are signed again by
// themselves.
func TestNightlySPIREWithoutDriver(t *testing.T) {
	s := newSPIRESuite(t, spiretest.Add(t, testlab.SPIREOptions{}))
	s.enableSPIRE(t)
	audit, enforce := s.scope(t, false), s.scope(t, true)
	must(t, s.CSIDriver.Stop(t.Context()))
	t.Cleanup(func() { must(t, s.CSIDriver.Start(context.Background())) })

	e := s.start(t, enforce, another(t, "results"))
	s.wantInTime(t, "the first TaskRun", audit, withoutDriver)
	s.wantInTime(t, "the next one", audit, afterOthers)
	s.wantInTime(t, "the first one of another namespace", s.scope(t, false), afterOthers)
	s.wantEvent(t, audit, "run unsigned from now on. Next: make the CSI driver csi.spiffe.io work")
	s.wantEvent(t, enforce, "no TaskRun starts until this is fixed. Next: make the CSI driver csi.spiffe.io work")
	s.wantStatus(t, nil, 4, "Namespace "+audit, "csi.spiffe.io")
	if e = s.now(t, e); e.IsDone() || len(e.Status.Results) > 0 {
		t.Errorf("results are enforced: the TaskRun runs without the driver: %s", describe(e))
	}

	must(t, s.CSIDriver.Start(t.Context()))
	began := time.Now()
	e = s.watchUntil(t, s.now(t, e), "is done", (*pipelinev1.TaskRun).IsDone)
	wantSucceeded(t, e)
	wantCondition(t, e, "True", "TaskRunResultsVerified")
	t.Logf("results are enforced: the TaskRun is done %s after the driver is back", time.Since(began).Round(time.Second))
	s.untilSigned(t, audit, began)
}

// wantInTime wants a TaskRun to succeed without the signer in a bounded time.
func (s *spireSuite) wantInTime(t *testing.T, what, ns string, bound time.Duration) {
	t.Helper()
	began := time.Now()
	s.wantWithoutSigner(t, s.finish(t, ns, another(t, "results")))
	took := time.Since(began).Round(time.Second)
	t.Logf("without the driver, %s took %s", what, took)
	if took > bound {
		t.Errorf("expected at most %s", bound)
	}
}

// wantWithoutSigner wants a TaskRun to have succeeded in a pod without the signer, and the reason to be shown.
func (s *spireSuite) wantWithoutSigner(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	wantSucceeded(t, tr)
	wantResultNames(t, tr, "digest", "tags", "image")
	pod := s.pod(t, tr.Namespace, tr.Status.PodName)
	if got := deliveryOf(pod); got != "nothing" {
		t.Errorf("TaskRun %s: the signer came by %s, want it to be left out", tr.Name, got)
	}
	if reason := pod.Annotations[signing.UnsignedAnnotation]; !strings.Contains(reason, "csi.spiffe.io") {
		t.Errorf("TaskRun %s: the pod's reason is %q, want the CSI driver to be named", tr.Name, reason)
	}
	s.verify(t, "UNSIGNED", 3, "taskrun/"+tr.Name, "-n", tr.Namespace)
}

// wantEvent wants an event about a TaskRun whose pod did not start.
func (s *spireSuite) wantEvent(t *testing.T, ns, text string) {
	t.Helper()
	s.eventually(t, "an event in namespace "+ns, func(ctx context.Context) (bool, error) {
		events, err := s.kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=SignerNotDelivered"})
		return err == nil && len(events.Items) > 0 && strings.Contains(events.Items[0].Message, text), err
	})
}

// untilSigned wants TaskRuns of a namespace to be signed again, in time.
func (s *spireSuite) untilSigned(t *testing.T, ns string, since time.Time) {
	t.Helper()
	for {
		tr := s.finish(t, ns, another(t, "results"))
		wantSucceeded(t, tr)
		took := time.Since(since).Round(time.Second)
		if deliveryOf(s.pod(t, ns, tr.Status.PodName)) != "nothing" {
			t.Logf("signed again %s after the driver is back", took)
			wantCondition(t, tr, "True", "TaskRunResultsVerified")
			return
		}
		if took > driverBack {
			t.Fatalf("not signed again %s after the driver is back", took)
		}
		time.Sleep(10 * time.Second)
	}
}
