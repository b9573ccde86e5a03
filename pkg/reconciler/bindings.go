// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	admissioninformers "k8s.io/client-go/informers/admissionregistration/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Bindings updates the namespaces of the policies' bindings from the settings. It does not change anything else in
// them, and does not create bindings: status reports missing and edited ones. Its keys are the names of the
// bindings.
type Bindings struct {
	pkgreconciler.LeaderAwareFuncs

	client          kubernetes.Interface
	settings        *Settings
	tektonNamespace string
	informers       map[string]cache.SharedIndexInformer
}

// NewBindings returns the reconciler. Start connects it with a work queue.
func NewBindings(client kubernetes.Interface, s *Settings, tektonNamespace string) *Bindings {
	b := &Bindings{
		client: client, settings: s, tektonNamespace: tektonNamespace, informers: map[string]cache.SharedIndexInformer{},
	}
	for name := range manifests.BindingSelectors(settings.Default(), tektonNamespace) {
		b.informers[name] = admissioninformers.NewFilteredValidatingAdmissionPolicyBindingInformer(
			client, 0, cache.Indexers{}, onlyName(name))
	}
	b.PromoteFunc = func(bucket pkgreconciler.Bucket, enqueue func(pkgreconciler.Bucket, types.NamespacedName)) error {
		b.each(func(key types.NamespacedName) { enqueue(bucket, key) })
		return nil
	}
	return b
}

func (b *Bindings) each(f func(types.NamespacedName)) {
	for name := range b.informers {
		f(types.NamespacedName{Name: name})
	}
}

// Start puts changes into the work queue, and runs the informers until ctx ends.
func (b *Bindings) Start(ctx context.Context, queue *controller.Impl) {
	b.settings.OnChange(func() { b.each(queue.EnqueueKey) })
	for name, informer := range b.informers {
		mustAdd(informer, controller.HandleAll(func(any) { queue.EnqueueKey(types.NamespacedName{Name: name}) }))
		go informer.RunWithContext(ctx)
	}
}

// Reconcile implements controller.Reconciler.
func (b *Bindings) Reconcile(ctx context.Context, key string) error {
	_, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return controller.NewPermanentError(err)
	}
	if !b.IsLeaderFor(types.NamespacedName{Name: name}) {
		return controller.NewSkipKey(key)
	}
	if !b.settings.HasSynced() {
		return controller.NewRequeueAfter(retryInterval)
	}
	live := get[*admissionv1.ValidatingAdmissionPolicyBinding](b.informers[name], name)
	wanted := manifests.BindingSelectors(b.settings.Get(), b.tektonNamespace)[name]
	if live == nil || wanted == nil ||
		(live.Spec.MatchResources != nil && equality.Semantic.DeepEqual(live.Spec.MatchResources.NamespaceSelector, wanted)) {
		return nil
	}
	updated := live.DeepCopy()
	if updated.Spec.MatchResources == nil {
		updated.Spec.MatchResources = &admissionv1.MatchResources{}
	}
	updated.Spec.MatchResources.NamespaceSelector = wanted
	_, err = b.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Update(ctx, updated,
		metav1.UpdateOptions{FieldManager: manifests.Keeper})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // the change is seen soon, and triggers this again
	}
	if err != nil {
		return fmt.Errorf("writing the namespaces into ValidatingAdmissionPolicyBinding %s: %w", name, err)
	}
	return nil
}
