// SPDX-License-Identifier: Apache-2.0

package corpus_test

import (
	"crypto/rand"
	"slices"
	"testing"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	"github.com/tektoncd/pipeline/pkg/result"
	tektontest "github.com/tektoncd/pipeline/pkg/spire/test"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spiretest"
	"github.com/tekton-sign/kubectl-tekton-sign/test/corpus"
)

// TestUpstreamAcceptsLegacyAttacks signs and verifies with Tekton's own code. An attack that it no longer
// accepts must be removed from the list.
func TestUpstreamAcceptsLegacyAttacks(t *testing.T) {
	domain := spiretest.New(t)
	domain.Serve(spiretest.ID("ci", "build"))
	results := corpus.LegacyResults()
	signed := slices.Concat(results, domain.Sign(t, results))
	if err := domain.Verify(t, "ci", "build", signed); err != nil {
		t.Fatalf("Tekton refuses what it signed: %v", err)
	}
	for _, attack := range corpus.LegacyAttacks() {
		t.Run(attack.Name, func(t *testing.T) {
			changed := attack.Change(slices.Clone(signed))
			if slices.Equal(changed, signed) {
				t.Fatal("the attack changes nothing")
			}
			if err := domain.Verify(t, "ci", "build", changed); err != nil {
				t.Errorf("Tekton sees it: %v", err)
			}
		})
	}
}

// Evidence of format v1 holds no UID. What an earlier TaskRun or attempt signed is accepted for a later one.
func TestUpstreamAcceptsReplays(t *testing.T) {
	domain := spiretest.New(t)
	for _, of := range []string{"an earlier TaskRun of the same name", "the attempt before"} {
		t.Run(of, func(t *testing.T) {
			results := []result.RunResult{{Key: "NAME", Value: "old", ResultType: result.TaskRunResultType}}
			domain.Serve(spiretest.ID("ci", "build"))
			old := slices.Concat(results, domain.Sign(t, results))
			domain.Serve(spiretest.ID("ci", "build")) // the later one has its own identity, with another key
			if err := domain.Verify(t, "ci", "build", old); err != nil {
				t.Errorf("Tekton sees it: %v", err)
			}
		})
	}
}

// Tekton merges what all steps signed, and the last manifest wins. A later step's results can be removed
// together with its manifest.
func TestUpstreamAcceptsAnOlderManifest(t *testing.T) {
	domain := spiretest.New(t)
	domain.Serve(spiretest.ID("ci", "build"))
	first := []result.RunResult{{Key: "A", Value: "1", ResultType: result.TaskRunResultType}}
	both := append(slices.Clone(first), result.RunResult{Key: "B", Value: "2", ResultType: result.TaskRunResultType})
	older := slices.Concat(first, domain.Sign(t, first))
	if err := domain.Verify(t, "ci", "build", slices.Concat(both, domain.Sign(t, both))); err != nil {
		t.Fatal(err)
	}
	if err := domain.Verify(t, "ci", "build", older); err != nil {
		t.Errorf("Tekton sees that B is gone: %v", err)
	}
}

// A step that emits only step results signs an empty manifest, which fits any results.
func TestUpstreamAcceptsAnEmptyManifest(t *testing.T) {
	domain := spiretest.New(t)
	domain.Serve(spiretest.ID("ci", "build"))
	results := []result.RunResult{{Key: "scan", Value: "clean", ResultType: result.StepResultType}}
	signed := slices.Concat(results, domain.Sign(t, results))
	if i := slices.IndexFunc(signed, func(r result.RunResult) bool {
		return r.Key == signing.CarrierManifest
	}); signed[i].Value != "" {
		t.Fatalf("the manifest is %q", signed[i].Value)
	}
	signed[0].Value = "infected"
	if err := domain.Verify(t, "ci", "build", signed); err != nil {
		t.Errorf("Tekton sees it: %v", err)
	}
}

// Of several bundles, Tekton uses the first one, even if it is that of another trust domain. A federated
// trust domain can then issue our SPIFFE IDs, and our own are refused.
func TestUpstreamTrustsAFederatedDomain(t *testing.T) {
	domain := spiretest.New(t)
	other := domain.Federate(t, "a.example")
	results := []result.RunResult{{Key: "A", Value: "1", ResultType: result.TaskRunResultType}}
	sign := func(ca *tektontest.CA) []result.RunResult {
		key, svid := spiretest.Key(ca.CreateX509SVID(spiretest.ID("ci", "build")))
		carriers, err := signing.SignLegacy(rand.Reader, key, results)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Concat(results, []result.RunResult{svid}, carriers)
	}
	if err := domain.Verify(t, "ci", "build", sign(other)); err != nil {
		t.Errorf("Tekton refuses an identity of ours that the federated domain minted: %v", err)
	}
	if err := domain.Verify(t, "ci", "build", sign(domain.CA)); err == nil {
		t.Error("Tekton accepts an honest identity under federation: it no longer has to leave the list")
	}
}

// Tekton's hash of the status does not cover conditions, and any SVID of the trust domain can sign it.
func TestUpstreamAcceptsForgedStatus(t *testing.T) {
	domain := spiretest.New(t)
	tr := &v1beta1.TaskRun{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "build"}}
	tr.Status.TaskRunResults = []v1beta1.TaskRunResult{{Name: "A", Type: "string",
		Value: *v1beta1.NewStructuredValues("forged")}}
	tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionFalse})
	domain.Serve(spiretest.ID("ci", "some-other-taskrun"))
	if err := domain.Controller(t).AppendStatusInternalAnnotation(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	log := zap.NewNop().Sugar()
	if err := domain.Controller(t).VerifyStatusInternalAnnotation(t.Context(), tr, log); err != nil {
		t.Errorf("Tekton sees that no controller signed it: %v", err)
	}
	tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionTrue})
	if err := domain.Controller(t).VerifyStatusInternalAnnotation(t.Context(), tr, log); err != nil {
		t.Errorf("Tekton sees that the outcome was flipped: %v", err)
	}
}
