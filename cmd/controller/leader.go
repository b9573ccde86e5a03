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

// election elects one leader for all reconcilers, with one Lease. That replica does all work except for the
// webhooks, and kubectl get lease shows it. With a Lease for each reconciler, each replica would renew all of them
// every two seconds.
type election struct {
	members []member
	leading func(bool)
}

type member struct {
	pkgreconciler.LeaderAware
	enqueue func(pkgreconciler.Bucket, types.NamespacedName)
}

// follower is a reconciler that the election promotes and demotes. It does not take part in an election of its own.
type follower struct{ controller.Reconciler }

// newElection returns the election, by the Lease of this name, of a leader for the controllers. It takes over their
// leadership. leading gets whether this replica leads.
func newElection(
	ctx context.Context, client kubernetes.Interface, name string, controllers []*controller.Impl, leading func(bool),
) (leaderelection.Elector, error) {
	c := &election{leading: leading}
	for _, impl := range controllers {
		aware, ok := impl.Reconciler.(pkgreconciler.LeaderAware)
		if !ok {
			return nil, fmt.Errorf("reconciler %s works in every replica: it must implement LeaderAware", impl.Name)
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
func (c *election) Promote(b pkgreconciler.Bucket, _ func(pkgreconciler.Bucket, types.NamespacedName)) error {
	for _, m := range c.members {
		if err := m.Promote(b, m.enqueue); err != nil {
			return err
		}
	}
	c.leading(true)
	return nil
}

// Demote implements reconciler.LeaderAware.
func (c *election) Demote(b pkgreconciler.Bucket) {
	for _, m := range c.members {
		m.Demote(b)
	}
	c.leading(false)
}
