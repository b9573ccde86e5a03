// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"sync"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Settings follows ConfigMap config-signing. Where it becomes unreadable, the last good settings stay in force: a typing
// error must not turn signing off.
type Settings struct {
	informer cache.SharedIndexInformer
	log      *zap.SugaredLogger

	mu       sync.RWMutex
	current  settings.Settings
	onChange []func()
}

// NewSettings returns the view of the ConfigMap in Tekton's namespace. It is empty until Run has been called.
func NewSettings(client kubernetes.Interface, tektonNamespace string, log *zap.SugaredLogger) *Settings {
	s := &Settings{
		informer: coreinformers.NewFilteredConfigMapInformer(client, tektonNamespace, 0, cache.Indexers{},
			onlyName(settings.ConfigMapName)),
		log:     log,
		current: settings.Default(),
	}
	mustAdd(s.informer, cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { s.update(obj) },
		UpdateFunc: func(_, obj any) { s.update(obj) },
		DeleteFunc: func(any) { s.set(settings.Default()) },
	})
	return s
}

// OnChange has f called after every change. It is called before Run only.
func (s *Settings) OnChange(f func()) { s.onChange = append(s.onChange, f) }

// Run follows the ConfigMap until ctx ends.
func (s *Settings) Run(ctx context.Context) { s.informer.RunWithContext(ctx) }

// HasSynced reports whether the ConfigMap, or its absence, has been seen.
func (s *Settings) HasSynced() bool { return s.informer.HasSynced() }

// Get returns the settings in force.
func (s *Settings) Get() settings.Settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current
}

func (s *Settings) update(obj any) {
	cm, ok := obj.(*corev1.ConfigMap)
	if !ok {
		return
	}
	parsed, err := settings.Parse(cm.Data)
	if err == nil {
		err = parsed.Supported()
	}
	if err != nil {
		s.log.Errorw("the settings cannot be used, the last good ones stay in force: correct the ConfigMap, "+
			"or run kubectl tekton-sign enable again", zap.Error(err))
		return
	}
	s.set(parsed)
}

func (s *Settings) set(parsed settings.Settings) {
	s.mu.Lock()
	s.current = parsed
	s.mu.Unlock()
	s.log.Infow("settings", "backend", parsed.Backend, "enforcement", parsed.Enforcement, "scope", parsed.Scope.String(),
		"delivery", parsed.Delivery)
	for _, f := range s.onChange {
		f()
	}
}

// onlyName confines an informer to one object, which is also all that its role allows.
func onlyName(name string) func(*metav1.ListOptions) {
	return func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	}
}

// mustAdd adds a handler to an informer that has not been started, which cannot fail.
func mustAdd(informer cache.SharedIndexInformer, handler cache.ResourceEventHandler) {
	if _, err := informer.AddEventHandler(handler); err != nil {
		panic(err)
	}
}
