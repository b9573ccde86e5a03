// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"knative.dev/pkg/controller"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
)

// registrars is how many TaskRuns are registered at a time.
const registrars = 8

// newEntriesController makes the reconciler that registers TaskRuns with the backend.
func newEntriesController(ctx context.Context, a *addOn) (*reconciler.Entries, *controller.Impl) {
	entries := reconciler.NewEntries(reconciler.EntriesConfig{
		Dynamic: a.dynamic,
		Client:  a.registrar.Client,
		Wanted: func(namespace string) bool {
			return a.settings.Get().Registers() && a.namespaces.InScope(namespace)
		},
		OnEntry:  a.metrics.Entry,
		Recorder: a.recorder,
		Now:      time.Now,
		Log:      a.log,
	})
	queue := controller.NewContext(ctx, entries, controller.ControllerOptions{
		WorkQueueName: "entries", Logger: logging.FromContext(ctx).Named("entries"), Concurrency: registrars,
	})
	entries.Start(ctx, queue)
	left := &leaving{
		registers: func() bool { return a.settings.Get().Registers() }, sweep: entries.Sweep, log: a.log,
	}
	a.settings.OnChange(func() { left.changed(ctx) })
	return entries, queue
}
