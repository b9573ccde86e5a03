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

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Settings follows ConfigMap config-signing. Where it becomes unreadable, the last good settings stay in force: a typing
// error must not turn signing off.
type Settings struct {
	informer cache.SharedIndexInformer
	seen     cache.ResourceEventHandlerRegistration
	log      *zap.SugaredLogger

	mu       sync.RWMutex
	current  settings.Settings
	good     bool // current was read from the cluster
	unusable bool // there is a ConfigMap, and none was usable yet
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
	s.seen = mustAdd(s.informer, cache.ResourceEventHandlerFuncs{
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

// HasSynced reports whether the ConfigMap, or its absence, has been seen. While there are no last good settings, because the
// first that were seen cannot be used, it is false: the defaults would turn signing off.
func (s *Settings) HasSynced() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.seen.HasSynced() && !s.unusable
}

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
		err = backends.Check(parsed)
	}
	if err != nil {
		s.refuse(err)
		return
	}
	s.set(parsed)
}

// refuse keeps the last good settings in force, if there are any.
func (s *Settings) refuse(err error) {
	s.mu.Lock()
	s.unusable = !s.good
	unusable := s.unusable
	s.mu.Unlock()
	state := "the last good ones stay in force"
	if unusable {
		state = "and none were seen that can: the add-on does not get ready"
	}
	s.log.Errorw("the settings cannot be used, "+state+": correct the ConfigMap, or run kubectl tekton-sign enable again", zap.Error(err))
}

func (s *Settings) set(parsed settings.Settings) {
	s.mu.Lock()
	s.current, s.good, s.unusable = parsed, true, false
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
func mustAdd(informer cache.SharedIndexInformer, handler cache.ResourceEventHandler) cache.ResourceEventHandlerRegistration {
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		panic(err)
	}
	return registration
}
