// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"knative.dev/pkg/controller"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
)

func (a *addOn) newChainsGate(ctx context.Context, resource string) *controller.Impl {
	gate := reconciler.NewChainsGate(reconciler.ChainsGateConfig{
		Client: a.dynamic, Settings: a.settings, Namespaces: a.namespaces, Resource: resource, Proves: a.proof().Proves,
		Log: a.log, Now: time.Now,
	})
	name := "chains-" + resource
	queue := newQueue(ctx, gate, name)
	gate.Start(ctx, queue)
	return queue
}
