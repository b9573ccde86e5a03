// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/controller"
	secretinformer "knative.dev/pkg/injection/clients/namespacedkube/informers/core/v1/secret"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
)

// Paths of the webhooks, as the manifests name them.
const (
	pathInject = "/inject"
	pathStatus = "/status"
)

// webhookController serves one webhook and keeps its configuration.
type webhookController struct {
	*reconciler.Webhooks
	path  string
	admit func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse
}

// Path implements webhook.AdmissionController.
func (w *webhookController) Path() string { return w.path }

// Admit implements webhook.AdmissionController.
func (w *webhookController) Admit(ctx context.Context, r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	return w.admit(ctx, r)
}

func (a *addOn) newInjectController(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	handler := &admission.InjectHandler{Scope: a, Delivery: a.delivery.Choose, Inject: a.inject, Log: a.log}
	return a.newWebhookController(ctx, manifests.InjectWebhook, pathInject, handler.Admit)
}

func (a *addOn) newStatusController(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	handler := &admission.StatusHandler{
		Scope: a, Accounts: a.accounts(), Verifier: a.trust, Pods: a.pods, Now: time.Now, Log: a.log,
	}
	return a.newWebhookController(ctx, manifests.StatusWebhook, pathStatus, handler.Admit)
}

func (a *addOn) newWebhookController(ctx context.Context, name, path string,
	admit func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse,
) *controller.Impl {
	secrets := secretinformer.Get(ctx)
	a.secrets = secrets.Lister()
	webhooks := reconciler.NewWebhooks(reconciler.WebhooksConfig{
		Client: a.client, Secrets: secrets.Lister(), Settings: a.settings, TektonNamespace: a.tektonNamespace, Name: name,
	})
	queue := controller.NewContext(ctx, &webhookController{Webhooks: webhooks, path: path, admit: admit},
		controller.ControllerOptions{WorkQueueName: name, Logger: logging.FromContext(ctx).Named(name)})
	enqueue := func() { queue.EnqueueKey(webhooks.Key()) }
	webhooks.OnChange(enqueue)
	if _, err := secrets.Informer().AddEventHandler(cache.FilteringResourceEventHandler{
		FilterFunc: controller.FilterWithNameAndNamespace(manifests.Namespace, manifests.CertificateSecret),
		Handler:    controller.HandleAll(func(any) { enqueue() }),
	}); err != nil {
		logging.FromContext(ctx).Fatalf("following Secret %s: %v", manifests.CertificateSecret, err)
	}
	go webhooks.Run(ctx)
	return queue
}

// newGrantsController is the last to be made: after it the views of the cluster are started.
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
	a.run(ctx)
	return queue
}
