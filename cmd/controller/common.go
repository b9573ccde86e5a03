// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/metrics"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
)

// common is what both programs of the add-on watch.
type common struct {
	log             *zap.SugaredLogger
	metrics         *metrics.Metrics
	client          kubernetes.Interface
	metadata        metadata.Interface
	tektonNamespace string
	tektonAccount   string
	signerImage     string
	api             apiServer

	settings    *reconciler.Settings
	delivery    *reconciler.Delivery
	exceptions  *delivery.View
	namespaces  *reconciler.Namespaces
	certificate cache.SharedIndexInformer // of the Secret with the certificate of the webhooks
	recorder    record.EventRecorder
}

func newCommon(ctx context.Context, config *rest.Config, log *zap.SugaredLogger, counted *metrics.Metrics) (*common,
	error) {
	c := &common{log: log, metrics: counted}
	var err error
	if c.tektonNamespace, err = requiredEnv(manifests.EnvTektonNamespace); err != nil {
		return nil, err
	}
	if c.tektonAccount, err = requiredEnv(manifests.EnvTektonAccount); err != nil {
		return nil, err
	}
	if c.signerImage, err = requiredEnv(manifests.EnvSignerImage); err != nil {
		return nil, err
	}
	if c.api, err = newAPIServer(config); err != nil {
		return nil, err
	}
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	if c.metadata, err = metadata.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	c.settings = reconciler.NewSettings(c.client, c.tektonNamespace, log)
	c.delivery = reconciler.NewDelivery(c.client, log)
	if c.exceptions, err = delivery.NewView(c.client, c.signerImage); err != nil {
		return nil, fmt.Errorf("following ConfigMap %s: %w", delivery.ConfigMapName, err)
	}
	c.namespaces = reconciler.NewNamespaces(c.metadata, c.settings, c.tektonNamespace)
	c.certificate = reconciler.NewSecretInformer(c.client, manifests.CertificateSecret)
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: c.client.CoreV1().Events(manifests.Namespace)})
	c.recorder = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: manifests.Controller})
	return c, nil
}

// follow watches what both programs need, until ctx ends.
func (c *common) follow(ctx context.Context) {
	go c.settings.Run(ctx)
	go c.delivery.Run(ctx)
	go c.exceptions.Run(ctx)
	go c.namespaces.Run(ctx)
	go c.certificate.RunWithContext(ctx)
}

// secrets lists the Secret of the certificate.
func (c *common) secrets() corelisters.SecretLister {
	return corelisters.NewSecretLister(c.certificate.GetIndexer())
}
