// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"knative.dev/pkg/controller"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
)

func (a *addOn) newChainsGate(ctx context.Context, resource string) *controller.Impl {
	gate := reconciler.NewChainsGate(reconciler.ChainsGateConfig{
		Client: a.dynamic, Settings: a.settings, Namespaces: a.namespaces, Resource: resource, Log: a.log, Now: time.Now,
	})
	name := "chains-" + resource
	queue := newQueue(ctx, gate, name)
	gate.Start(ctx, queue)
	return queue
}

// metadataPatcher changes metadata for the webhook of the gate.
type metadataPatcher struct {
	client dynamic.Interface
}

// Patch implements admission.MetadataPatcher.
func (p metadataPatcher) Patch(
	ctx context.Context, resource schema.GroupVersionResource, namespace, name string, patch []byte,
) (err error) {
	admission.Outside(ctx, func() {
		_, err = p.client.Resource(resource).Namespace(namespace).Patch(ctx, name, types.MergePatchType, patch,
			metav1.PatchOptions{FieldManager: manifests.Controller})
	})
	return err
}
