// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// pathConsumers is the path in the manifests of the webhook for the children of PipelineRuns.
const pathConsumers = "/consumers"

// newConsumers returns the webhook for the children of PipelineRuns.
func (a *addOn) newConsumers() *admission.ConsumerHandler {
	return &admission.ConsumerHandler{
		Scope: a, Reader: objectReader{a.dynamic}, Judge: admission.SealJudge{Proves: a.proof().Proves},
		Custom: customTasks{a}, Log: a.log,
	}
}

// customTasks trusts the custom tasks of the settings.
type customTasks struct{ admission.Scope }

// TrustedCustomTask implements admission.CustomTasks. The settings name the accounts of the controllers. Only the
// strict policies keep other accounts from writing for them.
func (c customTasks) TrustedCustomTask(string, string) bool {
	s := c.Settings()
	return len(s.CustomRunControllers) > 0 && s.Policies != settings.PoliciesStandard
}

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
