// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// NewSecretInformer follows one Secret of the add-on's namespace by its name.
func NewSecretInformer(client kubernetes.Interface, name string) cache.SharedIndexInformer {
	return coreinformers.NewFilteredSecretInformer(client, manifests.Namespace, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, onlyName(name))
}
