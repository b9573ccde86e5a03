// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/leaderelection"
	pkgreconciler "knative.dev/pkg/reconciler"
)

// crew leads all reconcilers with one Lease: one replica does all the work that is not a webhook's, and kubectl get lease
// names it. A Lease for each would be renewed every two seconds by each replica.
type crew struct {
	members []member
	leading func(bool)
}

type member struct {
	pkgreconciler.LeaderAware
	enqueue func(pkgreconciler.Bucket, types.NamespacedName)
}

// follower is a reconciler that is told by the crew who leads, not by an election of its own.
type follower struct{ controller.Reconciler }

// newCrew returns the election, by the Lease of this name, for the controllers, which it takes over. leading hears whether this replica leads.
func newCrew(
	ctx context.Context, client kubernetes.Interface, name string, controllers []*controller.Impl, leading func(bool),
) (leaderelection.Elector, error) {
	c := &crew{leading: leading}
	for _, impl := range controllers {
		aware, ok := impl.Reconciler.(pkgreconciler.LeaderAware)
		if !ok {
			return nil, fmt.Errorf("reconciler %s works in every replica: it must be aware of who leads", impl.Name)
		}
		c.members = append(c.members, member{aware, impl.MaybeEnqueueBucketKey})
		impl.Reconciler = follower{impl.Reconciler}
	}
	ctx = leaderelection.WithStandardLeaderElectorBuilder(ctx, client, leaderelection.ComponentConfig{
		Component: name, Buckets: 1, Identity: os.Getenv("POD_NAME"),
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		LeaseName: func(uint32) string { return name },
	})
	return leaderelection.BuildElector(ctx, c, name, nil)
}

// Promote implements reconciler.LeaderAware.
func (c *crew) Promote(b pkgreconciler.Bucket, _ func(pkgreconciler.Bucket, types.NamespacedName)) error {
	for _, m := range c.members {
		if err := m.Promote(b, m.enqueue); err != nil {
			return err
		}
	}
	c.leading(true)
	return nil
}

// Demote implements reconciler.LeaderAware.
func (c *crew) Demote(b pkgreconciler.Bucket) {
	for _, m := range c.members {
		m.Demote(b)
	}
	c.leading(false)
}
