// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rbacinformers "k8s.io/client-go/informers/rbac/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// GrantTimes watches the grants of all namespaces.
type GrantTimes struct {
	informer cache.SharedIndexInformer
}

// NewGrantTimes returns the view. It is empty until Run has been called.
func NewGrantTimes(client kubernetes.Interface) *GrantTimes {
	return &GrantTimes{rbacinformers.NewFilteredRoleBindingInformer(client, metav1.NamespaceAll, 0, cache.Indexers{},
		onlyName(manifests.TokenRequester))}
}

// Run watches the grants until ctx ends.
func (g *GrantTimes) Run(ctx context.Context) { g.informer.RunWithContext(ctx) }

// HasSynced reports whether all grants have been seen.
func (g *GrantTimes) HasSynced() bool { return g.informer.HasSynced() }

// Since returns when a namespace was given its grant, and false if it has none. A grant without subjects counts: it
// gives no right, but the policies were in effect when it was made.
func (g *GrantTimes) Since(namespace string) (time.Time, bool) {
	live := g.of(namespace)
	if live == nil {
		return time.Time{}, false
	}
	return live.CreationTimestamp.Time, true
}

// InForce reports whether the pods of a namespace can request signing tokens.
func (g *GrantTimes) InForce(namespace string) bool {
	live := g.of(namespace)
	return live != nil && len(live.Subjects) > 0
}

// of returns the grant of a namespace, or nil.
func (g *GrantTimes) of(namespace string) *rbacv1.RoleBinding {
	return get[*rbacv1.RoleBinding](g.informer, namespace+"/"+manifests.TokenRequester)
}
