// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// TestTrialOfAPolicyThatGoesAway: a refusal that has gone by the time of the second dry run is nobody's fault: the
// pod without the signer passes then, as the one with it would.
func TestTrialOfAPolicyThatGoesAway(t *testing.T) {
	for _, nodes := range []settings.Delivery{settings.DeliveryImage, settings.DeliveryInit} {
		rig := newTrialRig(t)
		rig.nodes = nodes
		rig.refuse = func(*corev1.Pod) error {
			if len(rig.asked) == 1 { // of whatever pod: a policy engine that starts, a policy that is being replaced
				return forbidden("policy engine: not ready")
			}
			return nil
		}
		if got := rig.reconcile(t, "ci"); got != nil {
			t.Errorf("nodes of %s: pods get the signer by %s from now on", nodes, got.Delivery)
		}
	}
}

// TestTrialUnderALimitRange: a LimitRange refuses the tiny model pod, with and without the signer. The policy that
// refuses pods with the signer is found all the same: pods of TaskRuns, which get the LimitRange's defaults, fail
// because of it.
func TestTrialUnderALimitRange(t *testing.T) {
	least := resource.MustParse("10Mi")
	rig := newTrialRig(t)
	rig.refuse = func(pod *corev1.Pod) error {
		for _, c := range pod.Spec.Containers {
			if memory, ok := c.Resources.Requests[corev1.ResourceMemory]; ok && memory.Cmp(least) < 0 {
				return forbidden("minimum memory usage per Container is 10Mi, but request is 1Mi")
			}
		}
		if hasSigner(pod) {
			return forbidden("not from this registry")
		}
		return nil
	}
	if got := rig.reconcile(t, "ci"); got == nil || got.Delivery != delivery.None {
		t.Errorf("got %+v, want that pods with the signer are known to be refused", got)
	}
}

// TestTrialWithoutConfigMap: somebody deleted ConfigMap delivery: what was found is kept all the same.
func TestTrialWithoutConfigMap(t *testing.T) {
	rig := newTrialRig(t)
	rig.refuse = func(pod *corev1.Pod) error {
		if hasSigner(pod) {
			return forbidden("not here")
		}
		return nil
	}
	if got := rig.reconcile(t, "ci"); got == nil {
		t.Fatal("not found")
	}
	if err := rig.client.CoreV1().ConfigMaps(settings.Namespace).Delete(context.Background(), delivery.ConfigMapName,
		metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	rig.until(t, func() bool { return len(rig.trials.View.Table().Entries()) == 0 })
	err := rig.trials.Reconcile(t.Context(), "ci")
	if err != nil && strings.Contains(err.Error(), "not found") {
		t.Errorf("from now on pods of the namespace are refused in audit, until somebody enables again: %v", err)
	}
}

// TestTrialForgetsGoneNamespaces: a namespace that is not there any more keeps no exception, whoever made it: one
// of its name that is made later starts afresh, and the ConfigMap does not fill up with those of the past.
func TestTrialForgetsGoneNamespaces(t *testing.T) {
	rig := newTrialRig(t)
	starts := delivery.NewStore(rig.client, rig.trials.View, delivery.Start, "test")
	for _, store := range []*delivery.Store{starts, rig.trials.Store} {
		if err := store.Set(t.Context(), "gone", delivery.Exception{Delivery: delivery.None, Reason: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	rig.until(t, func() bool { return len(rig.trials.View.Table().Entries()) == 2 })
	rig.reconcile(t, "gone")
	if got := rig.trials.View.Table().Entries(); len(got) != 0 {
		t.Errorf("left: %+v", got)
	}
}
