// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/controller"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// newStartsController makes the reconciler of TaskRuns whose pods do not start.
func (a *addOn) newStartsController(ctx context.Context) (*reconciler.Starts, *controller.Impl) {
	stores := map[delivery.Source]*delivery.Store{}
	for _, source := range []delivery.Source{delivery.Start, delivery.Mount, delivery.Once} {
		stores[source] = delivery.NewStore(a.client, a.exceptions, source, manifests.Controller)
	}
	drivers := func() []string { return backends.Of(a.settings.Get().Backend).Drivers() }
	ends := reconciler.NewMountEnds(reconciler.MountEndsConfig{
		Client:   a.client,
		Drivers:  drivers,
		Takes:    a.delivery.Takes,
		Entries:  func() []delivery.Entry { return a.exceptions.Table().Entries() },
		Clear:    stores[delivery.Mount].End,
		Recorder: a.recorder,
		Now:      time.Now,
		Log:      a.log,
	})
	starts := reconciler.NewStarts(reconciler.StartsConfig{
		Client:   a.client,
		Dynamic:  a.dynamic,
		Image:    a.signerImage,
		Wanted:   a.wanted,
		Enforced: a.enforced,
		Stopped: func(namespace string, taskRun types.UID) bool {
			e, ok := a.exceptions.ForTaskRun(namespace, taskRun)
			return ok && e.Delivery == delivery.None
		},
		Stop: func(ctx context.Context, namespace string, source delivery.Source, e delivery.Exception) error {
			return stores[source].Set(ctx, namespace, e)
		},
		Drivers:  drivers,
		Volumes:  delivery.BackendVolumes(),
		Nodes:    func() []string { return a.exceptions.Table().Nodes() },
		OnStuck:  a.metrics.Stuck,
		Recorder: a.recorder,
		Now:      time.Now,
		Log:      a.log,
	})
	queue := newQueue(ctx, starts, "starts")
	starts.Start(ctx, queue, ends.Run)
	return starts, queue
}

// newRefusalsController makes the reconciler of TaskRuns whose pods are refused.
func (a *addOn) newRefusalsController(ctx context.Context) (*reconciler.Refusals, *controller.Impl) {
	refusals := reconciler.NewRefusals(reconciler.RefusalsConfig{
		Client:    a.client,
		Image:     a.signerImage,
		Wanted:    a.wanted,
		Enforced:  a.enforced,
		View:      a.exceptions,
		Store:     delivery.NewStore(a.client, a.exceptions, delivery.Refusal, manifests.Controller),
		OnRefused: a.metrics.Refused,
		Recorder:  a.recorder,
		Now:       time.Now,
		Log:       a.log,
	})
	queue := newQueue(ctx, refusals, "refusals")
	refusals.Start(queue)
	return refusals, queue
}

// wanted reports whether pods of a namespace get the signer.
func (a *addOn) wanted(namespace string) bool {
	return backends.Injects(a.settings.Get()) && a.namespaces.InScope(namespace)
}

// enforced reports whether TaskRuns of a namespace fail without the signer.
func (a *addOn) enforced(namespace string) bool {
	return a.namespaces.Enforcement(namespace) == settings.Enforce
}
