// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	corelisters "k8s.io/client-go/listers/core/v1"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
)

// newSealKeyController keeps the key of the seals.
func (a *addOn) newSealKeyController(ctx context.Context) *controller.Impl {
	key := reconciler.NewSealKey(a.client, a.seals(), a.log)
	queue := newQueue(ctx, key, "seal-key")
	if _, err := a.sealSecret.AddEventHandler(
		controller.HandleAll(func(any) { queue.EnqueueKey(key.Key()) })); err != nil {
		logging.FromContext(ctx).Fatalf("following Secret %s: %v", manifests.SealKeySecret, err)
	}
	return queue
}

// seals lists the Secret of the key.
func (a *addOn) seals() corelisters.SecretLister {
	return corelisters.NewSecretLister(a.sealSecret.GetIndexer())
}

// sealKey returns the current key of the seals, or none while it is not known.
func (a *addOn) sealKey() seal.Key {
	if a.sealSecret == nil {
		return seal.Key{}
	}
	secret, err := a.seals().Secrets(manifests.Namespace).Get(manifests.SealKeySecret)
	if err != nil {
		return seal.Key{}
	}
	key, err := seal.ParseKey(secret.Data[seal.SecretKey])
	if err != nil {
		return seal.Key{}
	}
	return key
}
