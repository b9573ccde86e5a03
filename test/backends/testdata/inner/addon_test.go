// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/fake/faketest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// TestFakeBackendIsInjected: the steps of a pod are wrapped, and their signer is the backend's.
func TestFakeBackendIsInjected(t *testing.T) {
	s := settings.Default()
	s.Backend = signing.BackendFake
	pod, err := inject.Pod(inject.Model("ci", "registry.example/entrypoint"), inject.Options{
		SignerImage: "registry.example/signer", PullPolicy: corev1.PullIfNotPresent, Delivery: inject.DeliveryImage,
		Step: s.Step(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if args := strings.Join(pod.Spec.Containers[0].Args, " "); !strings.Contains(args, "-backend fake -format v2") ||
		strings.Contains(args, "-audience-prefix") {
		t.Errorf("got %s, want the arguments of backend fake", args)
	}
}

// TestFakeBackendIsJudged: the status webhook sets the condition, by the keys that it trusts.
func TestFakeBackendIsJudged(t *testing.T) {
	cluster, tr, err := faketest.TaskRun()
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(context.Context) (*trust.Cluster, error) { return cluster.Trust() }
	judge := NewTrust(fetch, nil, verifytest.RecordedAt, quiet())
	result, err := judge.TaskRun(t.Context(), RulesOf(settings.Default(), settings.Enforce), tr, verify.Facts{
		Live: true, Pinned: true,
		Pod: &verify.PodFacts{Found: true, UID: types.UID(verifytest.NewRun().PodUID), ControllerUID: tr.UID},
	})
	if err != nil || result.Verdict != verify.Verified || result.Backend != signing.BackendFake {
		t.Errorf("got %s by %s, %v, %+v; want VERIFIED by fake", result.Verdict, result.Backend, err, result.Checks)
	}
	tr.Status.Results[0].Value.StringVal = "sha256:0"
	result, err = judge.TaskRun(t.Context(), RulesOf(settings.Default(), settings.Enforce), tr, verify.Facts{Live: true})
	if err != nil || result.Verdict != verify.Failed {
		t.Errorf("got %s, %v; want FAILED for a result that was changed", result.Verdict, err)
	}
}
