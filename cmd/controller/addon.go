// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/controller"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends/apiserver"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// addOn is the program that serves the webhooks and writes records.
type addOn struct {
	*common

	pod        podIdentity
	registrar  backends.Registrar
	history    *reconciler.History
	grants     *reconciler.GrantTimes
	trust      *admission.Trust
	pods       pods
	dynamic    dynamic.Interface
	sealSecret cache.SharedIndexInformer // of the Secret with the key of the seals
}

// podIdentity is the pod that the add-on runs in.
type podIdentity struct{ name, uid string }

// newAddOn prepares the views of the cluster. follow starts them.
func newAddOn(shared *common, config *rest.Config) (*addOn, error) {
	a := &addOn{common: shared}
	for _, env := range []struct {
		name  string
		value *string
	}{
		{manifests.EnvPodName, &a.pod.name},
		{manifests.EnvPodUID, &a.pod.uid},
	} {
		var err error
		if *env.value, err = requiredEnv(env.name); err != nil {
			return nil, err
		}
	}
	var err error
	if a.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	a.grants = reconciler.NewGrantTimes(a.client)
	a.sealSecret = reconciler.NewSecretInformer(a.client, manifests.SealKeySecret)
	a.pods = pods{a.metadata, a.client}
	a.registrar = backends.NewRegistrar(backends.RegistrarOptions{
		Settings: a.settings.Get, OnChange: func() { a.trust.Changed() },
		Trusted: func() *trust.Cluster { return a.trust.Cluster() }, Now: time.Now, Log: a.log,
	})
	a.settings.OnChange(a.registrar.SettingsChanged)
	a.history = reconciler.NewHistory(reconciler.HistoryConfig{
		Client: a.client, Recorder: a.recorder, Log: a.log, Now: time.Now, OnSync: a.metrics.TrustHistory,
		Fetch: func(ctx context.Context) (*trust.Cluster, error) {
			cluster, err := trust.Fetch(ctx, a.client.CoreV1().RESTClient(), "")
			if err == nil {
				a.registrar.Trust(cluster)
			}
			return cluster, err
		},
		Federated: a.registrar.Federated,
	})
	a.trust = admission.NewTrust(a.history.Cluster, reviewer{apiserver.NewReviewer(a.client.AuthenticationV1())}, time.Now,
		a.log)
	return a, nil
}

// name implements process.
func (a *addOn) name() string { return manifests.Controller }

// follow implements process.
func (a *addOn) follow(ctx context.Context) {
	a.common.follow(ctx)
	go a.grants.Run(ctx)
	go a.sealSecret.RunWithContext(ctx)
	go a.trust.Run(ctx)
	go a.history.Run(ctx)
	go a.registrar.Run(ctx)
}

// controllers implements process.
func (a *addOn) controllers(ctx context.Context) ([]*controller.Impl, error) {
	refusals, refusalsQueue := a.newRefusalsController(ctx)
	starts, startsQueue := a.newStartsController(ctx)
	entries, entriesQueue := newEntriesController(ctx, a)
	return []*controller.Impl{
		a.newSealKeyController(ctx),
		a.newChainsGate(ctx, reconciler.TaskRuns),
		a.newChainsGate(ctx, reconciler.PipelineRuns),
		refusalsQueue,
		startsQueue,
		entriesQueue,
		a.newReportController(ctx),
		a.newRecordsController(ctx, taskRunHooks{
			seen: []taskRunHook{starts.Seen, entries.Seen}, gone: entries.Gone, refused: refusals.Seen,
		}),
	}, nil
}

// reviewer asks the API server about tokens for the status webhook.
type reviewer struct{ verify.Reviewer }

// Review implements verify.Reviewer.
func (r reviewer) Review(ctx context.Context, token, audience string) (review verify.Review, err error) {
	admission.Outside(ctx, func() { review, err = r.Reviewer.Review(ctx, token, audience) })
	return review, err
}

// pods reads pods for the status webhook. It asks the API server and not a cache, because the current state counts.
type pods struct {
	metadata metadata.Interface
	whole    kubernetes.Interface
}

// Get implements admission.PodGetter.
func (p pods) Get(ctx context.Context, namespace, name string, whole bool) (pod *corev1.Pod, err error) {
	admission.Outside(ctx, func() {
		if whole {
			pod, err = p.whole.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
			return
		}
		var partial *metav1.PartialObjectMetadata
		partial, err = p.metadata.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(namespace).
			Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			pod = &corev1.Pod{ObjectMeta: partial.ObjectMeta}
		}
	})
	return pod, err
}

// Log implements admission.PodGetter.
func (p pods) Log(ctx context.Context, namespace, name, container string, atMost int64) (text []byte, err error) {
	admission.Outside(ctx, func() {
		text, err = p.whole.CoreV1().Pods(namespace).GetLogs(name, &corev1.PodLogOptions{
			Container: container, LimitBytes: &atMost,
		}).DoRaw(ctx)
	})
	return text, err
}

// Ready implements admission.Scope.
func (a *addOn) Ready() bool {
	return a.settings.HasSynced() && a.namespaces.HasSynced() && a.exceptions.HasSynced() && a.grants.HasSynced()
}

// Settings implements admission.Scope.
func (a *addOn) Settings() settings.Settings { return a.settings.Get() }

// InScope implements admission.Scope.
func (a *addOn) InScope(namespace string) bool { return a.namespaces.InScope(namespace) }

// Enforcement implements admission.Scope.
func (a *addOn) Enforcement(namespace string) settings.Enforcement {
	return a.namespaces.Enforcement(namespace)
}

// accounts returns the service accounts that write the status of TaskRuns.
func (a *addOn) accounts() admission.Accounts {
	return admission.Accounts{
		Tekton: settings.Account{Namespace: a.tektonNamespace, Name: a.tektonAccount}.Username(),
		AddOn:  settings.Account{Namespace: manifests.Namespace, Name: manifests.ServiceAccount}.Username(),
	}
}
