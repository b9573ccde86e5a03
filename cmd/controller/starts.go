// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"knative.dev/pkg/controller"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// newStartsController makes the reconciler of TaskRuns whose pods do not start.
func (a *addOn) newStartsController(ctx context.Context) (*reconciler.Starts, *controller.Impl) {
	starts := reconciler.NewStarts(reconciler.StartsConfig{
		Client:  a.client,
		Dynamic: a.dynamic,
		Image:   a.signerImage,
		Wanted: func(namespace string) bool {
			return backends.Of(a.settings.Get().Backend).Signs && a.namespaces.InScope(namespace)
		},
		Enforced: func(namespace string) bool { return a.namespaces.Enforcement(namespace) == settings.Enforce },
		Stopped: func(namespace string) bool {
			e, ok := a.exceptions.For(namespace)
			return ok && e.Delivery == delivery.None
		},
		Stop:     delivery.NewStore(a.client, a.exceptions, delivery.Start, manifests.Controller).Set,
		OnStuck:  a.metrics.Stuck,
		Recorder: a.recorder,
		Now:      time.Now,
		Log:      a.log,
	})
	queue := newQueue(ctx, starts, "starts")
	starts.Start(queue)
	return starts, queue
}
