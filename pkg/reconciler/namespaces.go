// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Namespaces watches the metadata of all namespaces, and knows which are in scope.
type Namespaces struct {
	informer cache.SharedIndexInformer
	settings *Settings
	reserved []string
}

// NewNamespaces returns the view. It is empty until Run has been called.
func NewNamespaces(client metadata.Interface, s *Settings, tektonNamespace string) *Namespaces {
	informer := metadatainformer.NewFilteredMetadataInformer(client, corev1.SchemeGroupVersion.WithResource("namespaces"),
		metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	return &Namespaces{informer: informer, settings: s, reserved: settings.Reserved(tektonNamespace)}
}

// OnChange calls f with the name of every namespace that changes. Call it before Run.
func (n *Namespaces) OnChange(f func(name string)) {
	call := func(obj any) {
		if name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
			f(name)
		}
	}
	mustAdd(n.informer, cache.ResourceEventHandlerFuncs{
		AddFunc: call, UpdateFunc: func(_, obj any) { call(obj) }, DeleteFunc: call,
	})
}

// Run watches the namespaces until ctx ends.
func (n *Namespaces) Run(ctx context.Context) { n.informer.RunWithContext(ctx) }

// HasSynced reports whether all namespaces have been seen.
func (n *Namespaces) HasSynced() bool { return n.informer.HasSynced() }

// Names lists all namespaces.
func (n *Namespaces) Names() []string { return n.informer.GetStore().ListKeys() }

// Exists reports whether there is such a namespace.
func (n *Namespaces) Exists(name string) bool {
	_, ok, err := n.informer.GetStore().GetByKey(name)
	return ok && err == nil
}

// InScope reports whether results are signed in the namespace: it exists, is not being deleted, and the settings
// choose it.
func (n *Namespaces) InScope(name string) bool {
	labels, ok := n.labels(name)
	return ok && n.settings.Get().Scope.Matcher(n.reserved)(labels)
}

// Chosen reports whether the settings choose a namespace, be it being deleted or not. One that is not known is chosen.
func (n *Namespaces) Chosen(name string) bool {
	obj, ok, err := n.informer.GetStore().GetByKey(name)
	namespace, typed := obj.(*metav1.PartialObjectMetadata)
	if err != nil || !ok || !typed {
		return true
	}
	return n.settings.Get().Scope.Matcher(n.reserved)(namespace.Labels)
}

// Enforcement returns the mode of a namespace. One that is not known has the mode of all.
func (n *Namespaces) Enforcement(name string) settings.Enforcement {
	labels, _ := n.labels(name)
	return n.settings.Get().EnforcementOf(labels)
}

// labels returns the labels of a namespace that exists and is not being deleted.
func (n *Namespaces) labels(name string) (map[string]string, bool) {
	obj, ok, err := n.informer.GetStore().GetByKey(name)
	if err != nil || !ok {
		return nil, false
	}
	namespace, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok || namespace.DeletionTimestamp != nil {
		return nil, false
	}
	return namespace.Labels, true
}
