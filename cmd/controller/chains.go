// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"knative.dev/pkg/configmap"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
)

func (a *addOn) newChainsController(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	return a.newWebhookController(ctx, manifests.ChainsGate)
}

func (a *addOn) newTaskRunGate(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	return a.newChainsGate(ctx, reconciler.TaskRuns)
}

func (a *addOn) newPipelineRunGate(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	return a.newChainsGate(ctx, reconciler.PipelineRuns)
}

func (a *addOn) newChainsGate(ctx context.Context, resource string) *controller.Impl {
	gate := reconciler.NewChainsGate(reconciler.ChainsGateConfig{
		Client: a.dynamic, Settings: a.settings, Namespaces: a.namespaces, Resource: resource, Proves: a.proof().Proves,
		Log: a.log, Now: time.Now,
	})
	name := "chains-" + resource
	queue := controller.NewContext(ctx, gate,
		controller.ControllerOptions{WorkQueueName: name, Logger: logging.FromContext(ctx).Named(name)})
	gate.Start(ctx, queue)
	return queue
}
