// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/controller"
	secretinformer "knative.dev/pkg/injection/clients/namespacedkube/informers/core/v1/secret"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
)

// controllers makes every reconciler. The last makes no difference to the others.
func (a *addOn) controllers(ctx context.Context) []*controller.Impl {
	var all []*controller.Impl
	for _, make := range []func(context.Context, configmap.Watcher) *controller.Impl{
		a.newCertificateController,
		a.newInjectController,
		a.newStatusController,
		a.newChainsController,
		a.newConsumersController,
		a.newTaskRunGate,
		a.newPipelineRunGate,
		a.newBindingsController,
		a.newRecordsController,
		a.newGrantsController,
	} {
		all = append(all, make(ctx, nil))
	}
	return all
}

func (a *addOn) newInjectController(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	return a.newWebhookController(ctx, manifests.InjectWebhook)
}

func (a *addOn) newStatusController(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	return a.newWebhookController(ctx, manifests.StatusWebhook)
}

// newWebhookController keeps the configuration of one webhook.
func (a *addOn) newWebhookController(ctx context.Context, name string) *controller.Impl {
	secrets := secretinformer.Get(ctx)
	a.secrets = secrets.Lister()
	webhooks := reconciler.NewWebhooks(reconciler.WebhooksConfig{
		Client: a.client, Secrets: secrets.Lister(), Settings: a.settings, TektonNamespace: a.tektonNamespace, Name: name, Now: time.Now,
	})
	queue := controller.NewContext(ctx, webhooks, controller.ControllerOptions{WorkQueueName: name, Logger: logging.FromContext(ctx).Named(name)})
	enqueue := func() { queue.EnqueueKey(webhooks.Key()) }
	webhooks.OnChange(enqueue)
	onCertificate(ctx, enqueue)
	go webhooks.Run(ctx)
	return queue
}

// newCertificateController keeps the certificate of the webhooks.
func (a *addOn) newCertificateController(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	certificate := reconciler.NewCertificate(a.client, secretinformer.Get(ctx).Lister(), time.Now, a.log)
	queue := controller.NewContext(ctx, certificate,
		controller.ControllerOptions{WorkQueueName: "certificate", Logger: logging.FromContext(ctx).Named("certificate")})
	onCertificate(ctx, func() { queue.EnqueueKey(certificate.Key()) })
	return queue
}

// onCertificate has f called after every change of the Secret that holds the certificate of the webhooks.
func onCertificate(ctx context.Context, f func()) {
	if _, err := secretinformer.Get(ctx).Informer().AddEventHandler(cache.FilteringResourceEventHandler{
		FilterFunc: controller.FilterWithNameAndNamespace(manifests.Namespace, manifests.CertificateSecret),
		Handler:    controller.HandleAll(func(any) { f() }),
	}); err != nil {
		logging.FromContext(ctx).Fatalf("following Secret %s: %v", manifests.CertificateSecret, err)
	}
}

// newBindingsController keeps the namespaces in which the policies hold.
func (a *addOn) newBindingsController(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	bindings := reconciler.NewBindings(a.client, a.settings, a.tektonNamespace)
	queue := controller.NewContext(ctx, bindings,
		controller.ControllerOptions{WorkQueueName: "bindings", Logger: logging.FromContext(ctx).Named("bindings")})
	bindings.Start(ctx, queue)
	return queue
}

func (a *addOn) newGrantsController(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	grants := reconciler.NewGrants(reconciler.GrantsConfig{
		Client:          a.client,
		Settings:        a.settings,
		Namespaces:      a.namespaces,
		TektonNamespace: a.tektonNamespace,
		Probe:           a.probe.Bites,
		Recorder:        a.recorder,
		Log:             a.log,
		Now:             time.Now,
	})
	queue := controller.NewContext(ctx, grants,
		controller.ControllerOptions{WorkQueueName: "grants", Logger: logging.FromContext(ctx).Named("grants")})
	grants.Start(ctx, queue)
	a.grants = grants
	return queue
}
