// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/controller"
	secretinformer "knative.dev/pkg/injection/clients/namespacedkube/informers/core/v1/secret"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
)

// newSealKeyController keeps the key of the seals.
func (a *addOn) newSealKeyController(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	secrets := secretinformer.Get(ctx)
	key := reconciler.NewSealKey(a.client, secrets.Lister(), a.log)
	queue := controller.NewContext(ctx, key,
		controller.ControllerOptions{WorkQueueName: "seal-key", Logger: logging.FromContext(ctx).Named("seal-key")})
	if _, err := secrets.Informer().AddEventHandler(cache.FilteringResourceEventHandler{
		FilterFunc: controller.FilterWithNameAndNamespace(manifests.Namespace, manifests.SealKeySecret),
		Handler:    controller.HandleAll(func(any) { queue.EnqueueKey(key.Key()) }),
	}); err != nil {
		logging.FromContext(ctx).Fatalf("following Secret %s: %v", manifests.SealKeySecret, err)
	}
	return queue
}

// sealKey returns the key of the seals as it is now, none while it is not known.
func (a *addOn) sealKey() seal.Key {
	if a.secrets == nil {
		return seal.Key{}
	}
	secret, err := a.secrets.Secrets(manifests.Namespace).Get(manifests.SealKeySecret)
	if err != nil {
		return seal.Key{}
	}
	key, err := seal.ParseKey(secret.Data[seal.SecretKey])
	if err != nil {
		return seal.Key{}
	}
	return key
}
