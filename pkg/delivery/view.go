// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Client is the part of a Kubernetes client that the package uses.
type Client interface {
	CoreV1() typedcorev1.CoreV1Interface
}

// View watches the ConfigMap.
type View struct {
	image    string
	informer cache.SharedIndexInformer
	table    atomic.Pointer[Table]
	onChange []func(Table)
}

// NewView returns a view of the exceptions for a signer's image. It is empty until Run is called.
func NewView(client Client, image string) (*View, error) {
	v := &View{image: image}
	v.table.Store(new(Parse(nil)))
	v.informer = cache.NewSharedIndexInformer(onlyConfigMap(client), &corev1.ConfigMap{}, 0, cache.Indexers{})
	_, err := v.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    v.update,
		UpdateFunc: func(_, obj any) { v.update(obj) },
		DeleteFunc: func(any) { v.set(Parse(nil)) },
	})
	return v, err
}

// onlyConfigMap lists and watches this ConfigMap. The informers of client-go would link the clients of all
// API groups.
func onlyConfigMap(client Client) cache.ListerWatcher {
	only := func(o metav1.ListOptions) metav1.ListOptions {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, ConfigMapName).String()
		return o
	}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.CoreV1().ConfigMaps(settings.Namespace).List(ctx, only(o))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.CoreV1().ConfigMaps(settings.Namespace).Watch(ctx, only(o))
		},
	}, client)
}

// OnChange calls f after every change. Call OnChange only before Run.
func (v *View) OnChange(f func(Table)) { v.onChange = append(v.onChange, f) }

// Run watches the ConfigMap until ctx ends.
func (v *View) Run(ctx context.Context) { v.informer.RunWithContext(ctx) }

// HasSynced reports whether the ConfigMap, or its absence, has been seen.
func (v *View) HasSynced() bool { return v.informer.HasSynced() }

// Table returns the content of the ConfigMap.
func (v *View) Table() Table { return *v.table.Load() }

// For returns the entry that applies to a namespace now, with this version's image.
func (v *View) For(namespace string) (Entry, bool) { return v.Table().For(namespace, v.image) }

// ForTaskRun returns the entry that applies to the pods of a TaskRun now, with this version's image.
func (v *View) ForTaskRun(namespace string, taskRun types.UID) (Entry, bool) {
	return v.Table().ForTaskRun(namespace, taskRun, v.image)
}

func (v *View) update(obj any) {
	if cm, ok := obj.(*corev1.ConfigMap); ok {
		v.set(Parse(cm.Data))
	}
}

func (v *View) set(t Table) {
	v.table.Store(&t)
	for _, f := range v.onChange {
		f(t)
	}
}

// data returns the ConfigMap's data. Do not change it.
func (v *View) data() map[string]string {
	obj, _, _ := v.informer.GetStore().GetByKey(settings.Namespace + "/" + ConfigMapName)
	if cm, ok := obj.(*corev1.ConfigMap); ok {
		return cm.Data
	}
	return nil
}
