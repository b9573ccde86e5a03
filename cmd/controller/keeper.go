// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
)

// keeperCommand is the argument that runs this program as the keeper, in the manifests.
const keeperCommand = "keeper"

// keeper is the program that makes the cluster match the settings: the objects on which signing depends. It listens
// only to the kubelet and Prometheus.
type keeper struct {
	*common

	probe *reconciler.Probe
}

func newKeeper(shared *common, config *rest.Config) (*keeper, error) {
	probe, err := reconciler.NewProbe(config)
	if err != nil {
		return nil, err
	}
	return &keeper{shared, probe}, nil
}

// name implements process.
func (k *keeper) name() string { return manifests.Keeper }

// controllers implements process.
func (k *keeper) controllers(ctx context.Context) ([]*controller.Impl, error) {
	grants, err := k.newGrantsController(ctx)
	if err != nil {
		return nil, err
	}
	all := []*controller.Impl{k.newCertificateController(ctx), k.newBindingsController(ctx), grants,
		k.newTrialsController(ctx)}
	for _, configuration := range manifests.WebhookConfigurations() {
		all = append(all, k.newWebhookController(ctx, configuration))
	}
	return all, nil
}

// newWebhookController maintains one webhook configuration.
func (k *keeper) newWebhookController(ctx context.Context, name string) *controller.Impl {
	webhooks := reconciler.NewWebhooks(reconciler.WebhooksConfig{
		Client: k.client, Secrets: k.secrets(), Settings: k.settings, TektonNamespace: k.tektonNamespace, Name: name,
		Now: time.Now,
	})
	queue := newQueue(ctx, webhooks, name)
	enqueue := func() { queue.EnqueueKey(webhooks.Key()) }
	webhooks.OnChange(enqueue)
	k.onCertificate(ctx, enqueue)
	go webhooks.Run(ctx)
	return queue
}

// newCertificateController maintains the certificate of the webhooks.
func (k *keeper) newCertificateController(ctx context.Context) *controller.Impl {
	certificate := reconciler.NewCertificate(k.client, k.secrets(), time.Now, k.log)
	queue := newQueue(ctx, certificate, "certificate")
	k.onCertificate(ctx, func() { queue.EnqueueKey(certificate.Key()) })
	return queue
}

// onCertificate calls f after every change of the Secret with the certificate of the webhooks.
func (k *keeper) onCertificate(ctx context.Context, f func()) {
	if _, err := k.certificate.AddEventHandler(controller.HandleAll(func(any) { f() })); err != nil {
		logging.FromContext(ctx).Fatalf("following Secret %s: %v", manifests.CertificateSecret, err)
	}
}

// newBindingsController maintains the namespaces in which the policies apply.
func (k *keeper) newBindingsController(ctx context.Context) *controller.Impl {
	bindings := reconciler.NewBindings(k.client, k.settings, k.tektonNamespace)
	queue := newQueue(ctx, bindings, "bindings")
	bindings.Start(ctx, queue)
	return queue
}

func (k *keeper) newGrantsController(ctx context.Context) (*controller.Impl, error) {
	grants, err := reconciler.NewGrants(reconciler.GrantsConfig{
		Client:          k.client,
		Settings:        k.settings,
		Namespaces:      k.namespaces,
		TektonNamespace: k.tektonNamespace,
		TektonAccount:   k.tektonAccount,
		Probe:           k.probe.Check,
		Recorder:        k.recorder,
		Log:             k.log,
		Now:             time.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the grants: %w", err)
	}
	queue := newQueue(ctx, grants, "grants")
	grants.Start(ctx, queue)
	return queue, nil
}

// newQueue makes the work queue of a reconciler.
func newQueue(ctx context.Context, r controller.Reconciler, name string) *controller.Impl {
	return controller.NewContext(ctx, r, controller.ControllerOptions{WorkQueueName: name,
		Logger: logging.FromContext(ctx).Named(name)})
}

// listen implements process.
func (k *keeper) listen(ctx context.Context) ([]server, error) {
	probes := http.NewServeMux()
	probes.Handle("/readiness", probe(http.StatusServiceUnavailable, k.ready))
	probes.Handle("/health", probe(http.StatusInternalServerError, func() error {
		return alive(0, k.metrics.LongestWork(), func() { k.settings.Get() })
	}))
	return listenPlainly(ctx, k.common, map[string]http.Handler{probeAddress: probes})
}

// ready returns an error until the keeper knows the settings, the namespaces and the certificate.
func (k *keeper) ready() error {
	for _, seen := range []cache.InformerSynced{k.settings.HasSynced, k.namespaces.HasSynced, k.certificate.HasSynced} {
		if !seen() {
			return errors.New("settings, namespaces and certificate are not known yet")
		}
	}
	return nil
}
