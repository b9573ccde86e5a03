// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/metrics"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/tokenreview"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// addOn holds what the webhooks and reconcilers share.
type addOn struct {
	log             *zap.SugaredLogger
	metrics         *metrics.Metrics
	client          kubernetes.Interface
	tektonNamespace string
	tektonAccount   string
	signerImage     string
	api             apiServer
	pod             podIdentity

	settings   *reconciler.Settings
	namespaces *reconciler.Namespaces
	delivery   *reconciler.Delivery
	history    *reconciler.History
	grants     *reconciler.Grants // nil until its controller was made
	trust      *admission.Trust
	recorder   record.EventRecorder
	pods       podMetadata
	dynamic    dynamic.Interface
	probe      *reconciler.Probe
	secrets    corelisters.SecretLister // nil until the webhooks were made
}

// podIdentity is the pod that the add-on runs in.
type podIdentity struct{ name, uid string }

// newAddOn prepares the views of the cluster. run makes them follow it.
func newAddOn(ctx context.Context, config *rest.Config, log *zap.SugaredLogger, counted *metrics.Metrics) (*addOn, error) {
	a := &addOn{log: log, metrics: counted}
	var err error
	if a.tektonNamespace, err = requiredEnv(manifests.EnvTektonNamespace); err != nil {
		return nil, err
	}
	if a.tektonAccount, err = requiredEnv(manifests.EnvTektonAccount); err != nil {
		return nil, err
	}
	if a.signerImage, err = requiredEnv(manifests.EnvSignerImage); err != nil {
		return nil, err
	}
	if a.pod.name, err = requiredEnv(manifests.EnvPodName); err != nil {
		return nil, err
	}
	if a.pod.uid, err = requiredEnv(manifests.EnvPodUID); err != nil {
		return nil, err
	}
	if a.api, err = newAPIServer(config); err != nil {
		return nil, err
	}
	if a.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	if a.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	if a.probe, err = reconciler.NewProbe(config); err != nil {
		return nil, err
	}
	a.settings = reconciler.NewSettings(a.client, a.tektonNamespace, log)
	a.namespaces = reconciler.NewNamespaces(meta, a.settings, a.tektonNamespace)
	a.delivery = reconciler.NewDelivery(a.client, log)
	a.pods = podMetadata{meta}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: a.client.CoreV1().Events(manifests.Namespace)})
	a.recorder = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: manifests.Controller})
	a.history = reconciler.NewHistory(reconciler.HistoryConfig{
		Client: a.client, Recorder: a.recorder, Log: log, Now: time.Now, OnSync: counted.TrustHistory,
		Fetch: func(ctx context.Context) (*trust.Cluster, error) {
			return trust.Fetch(ctx, a.client.CoreV1().RESTClient(), "")
		},
	})
	a.trust = admission.NewTrust(a.history.Cluster, tokenReviews{tokenreview.New(a.client)}, time.Now, log)
	return a, nil
}

// run follows the cluster until ctx ends. Everybody who wants to hear of changes has said so before.
func (a *addOn) run(ctx context.Context) {
	go a.settings.Run(ctx)
	go a.namespaces.Run(ctx)
	go a.delivery.Run(ctx)
	go a.trust.Run(ctx)
	go a.history.Run(ctx)
}

// tokenReviews asks the API server about tokens for the status webhook.
type tokenReviews struct{ verify.TokenReviewer }

// Review implements verify.TokenReviewer.
func (r tokenReviews) Review(ctx context.Context, token, audience string) (review verify.TokenReview, err error) {
	admission.Outside(ctx, func() { review, err = r.TokenReviewer.Review(ctx, token, audience) })
	return review, err
}

// podMetadata reads pods for the status webhook.
type podMetadata struct {
	client metadata.Interface
}

// Get implements admission.PodGetter. It asks the API server, not a cache: the pod that is there now counts.
func (p podMetadata) Get(ctx context.Context, namespace, name string) (pod *metav1.PartialObjectMetadata, err error) {
	admission.Outside(ctx, func() {
		pod, err = p.client.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(namespace).
			Get(ctx, name, metav1.GetOptions{})
	})
	return pod, err
}

// Ready implements admission.Scope.
func (a *addOn) Ready() bool { return a.settings.HasSynced() && a.namespaces.HasSynced() }

// Settings implements admission.Scope.
func (a *addOn) Settings() settings.Settings { return a.settings.Get() }

// InScope implements admission.Scope.
func (a *addOn) InScope(namespace string) bool { return a.namespaces.InScope(namespace) }

// Enforcement implements admission.Scope.
func (a *addOn) Enforcement(namespace string) settings.Enforcement {
	return a.namespaces.Enforcement(namespace)
}

// accounts returns who writes the status of TaskRuns.
func (a *addOn) accounts() admission.Accounts {
	return admission.Accounts{
		Tekton: settings.Account{Namespace: a.tektonNamespace, Name: a.tektonAccount}.Username(),
		AddOn:  settings.Account{Namespace: manifests.Namespace, Name: manifests.ServiceAccount}.Username(),
	}
}
