// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/controller"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// trialPatience is the signer's timeout in the pod of a trial. The pod never runs, so the number does not matter.
const trialPatience = 5 * time.Second

// newTrialsController makes the reconciler that tries whether policies refuse pods with the signer.
func (k *keeper) newTrialsController(ctx context.Context) *controller.Impl {
	trials := reconciler.NewTrials(reconciler.TrialsConfig{
		Client:     k.client,
		Metadata:   k.metadata,
		Settings:   k.settings,
		Namespaces: k.namespaces,
		Ready:      k.delivery.HasSynced,
		Choose:     k.delivery.Choose,
		Image:      reconciler.NewTektonImage(k.client, k.tektonNamespace, time.Now).Get,
		Inject:     k.inject,
		View:       k.exceptions,
		Store:      delivery.NewStore(k.client, k.exceptions, delivery.Trial, manifests.Keeper),
		Recorder:   k.recorder,
		Log:        k.log,
		Now:        time.Now,
	})
	queue := newQueue(ctx, trials, "trials")
	trials.Start(ctx, queue)
	return queue
}

// inject changes a pod as the webhook does. The keeper does this itself instead of calling the webhook in the dry
// run, because the keeper chooses the delivery, and a webhook that does not answer proves nothing about the
// policies.
func (k *keeper) inject(pod *corev1.Pod, by settings.Delivery, s settings.Settings) (*corev1.Pod, error) {
	api, err := k.api.get()
	if err != nil {
		return nil, err
	}
	return inject.Pod(pod, inject.Options{
		SignerImage: k.signerImage, PullPolicy: corev1.PullIfNotPresent, PullSecrets: s.PullSecrets,
		Delivery: inject.Delivery(by),
		Step:     s.Step(), API: api, Patience: trialPatience, Volumes: backends.Of(s.Backend).StepVolumes,
	})
}
