// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	pkgreconciler "knative.dev/pkg/reconciler"
)

// Regularly does something regularly while this replica leads. It reconciles no object.
type Regularly struct {
	pkgreconciler.LeaderAwareFuncs
	leading Leading
}

// NewRegularly returns a reconciler that calls do while this replica leads, until ctx ends: after the first pause, or
// after the second one if do has failed.
func NewRegularly(ctx context.Context, do func(context.Context) error, pause, retry time.Duration) *Regularly {
	r := &Regularly{}
	r.PromoteFunc = func(pkgreconciler.Bucket, func(pkgreconciler.Bucket, types.NamespacedName)) error {
		r.leading.Promote(ctx, func(ctx context.Context) { repeat(ctx, do, pause, retry) })
		return nil
	}
	r.DemoteFunc = func(pkgreconciler.Bucket) { r.leading.Demote() }
	return r
}

// Reconcile implements controller.Reconciler.
func (r *Regularly) Reconcile(context.Context, string) error { return nil }

// repeat calls do until ctx ends: after the first pause again, after the second one if do has failed.
func repeat(ctx context.Context, do func(context.Context) error, pause, retry time.Duration) {
	for ctx.Err() == nil {
		next := pause
		if do(ctx) != nil {
			next = retry
		}
		select {
		case <-ctx.Done():
		case <-time.After(next):
		}
	}
}
