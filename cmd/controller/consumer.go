// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/controller"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
)

// pathConsumers is the path of the webhook for the children of PipelineRuns, consumersWebhook its configuration, as the manifests
// name them.
const (
	pathConsumers    = "/consumers"
	consumersWebhook = "tekton-sign-consumers"
)

// newConsumers returns the webhook for the children of PipelineRuns.
func (a *addOn) newConsumers() *admission.ConsumerHandler {
	return &admission.ConsumerHandler{
		Scope: a, Reader: objectReader{a.dynamic}, Judge: admission.ConditionJudge{}, Custom: noCustomTasks{}, Log: a.log,
	}
}

func (a *addOn) newConsumersController(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	return a.newWebhookController(ctx, consumersWebhook)
}

// noCustomTasks trusts the controller of none.
type noCustomTasks struct{}

// TrustedCustomTask implements admission.CustomTasks.
func (noCustomTasks) TrustedCustomTask(string, string) bool { return false }

// objectReader reads objects for the webhook for the children of PipelineRuns.
type objectReader struct {
	client dynamic.Interface
}

// Get implements admission.ObjectReader.
func (r objectReader) Get(
	ctx context.Context, resource schema.GroupVersionResource, namespace, name string,
) (found *unstructured.Unstructured, err error) {
	admission.Outside(ctx, func() {
		found, err = r.client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	})
	return found, err
}
