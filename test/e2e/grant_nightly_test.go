// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// TestNightlyNobodyLeads makes a namespace and its first TaskRun together while no replica leads, as after the loss
// of a node: it gets its grant all the same, and the TaskRun verifies.
func TestNightlyNobodyLeads(t *testing.T) {
	c := open(t)
	c.enable(t)
	c.untilHealthy(t, nil)
	leases := c.kube.CoordinationV1().Leases("tekton-sign")
	edit := func(ctx context.Context, name string, change func(*coordinationv1.LeaseSpec)) {
		c.eventually(t, "a change of Lease "+name, func(context.Context) (bool, error) {
			lease, err := leases.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			change(&lease.Spec)
			_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
			return err == nil, nil
		})
	}
	const nobody = "nobody"
	for _, name := range []string{manifests.Controller, manifests.Keeper} {
		edit(t.Context(), name, func(l *coordinationv1.LeaseSpec) {
			l.HolderIdentity, l.LeaseDurationSeconds, l.RenewTime = new(nobody), new(int32(120)), new(metav1.NowMicro())
		})
	}
	time.Sleep(15 * time.Second) // until who led has noticed
	key, value := "e2e.tekton-sign.dev/signed", "true"
	ns := c.namespaceWith(t, map[string]string{key: value, "tekton-sign.dev/enforcement": "enforce"})
	tr := c.finish(t, ns, fixture(t, "results"))
	for _, name := range []string{manifests.Controller, manifests.Keeper} {
		lease, err := leases.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != nobody {
			t.Errorf("Lease %s: want it held by nobody during the test, got %+v, %v", name, lease.Spec, err)
		}
		edit(t.Context(), name, func(l *coordinationv1.LeaseSpec) { l.HolderIdentity = new("") })
	}
	wantSucceeded(t, tr)
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	c.untilHealthy(t, nil)
}
