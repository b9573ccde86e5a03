// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"strings"
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

// Settings watches ConfigMap config-signing, and Tekton's own ConfigMaps of the backends. If one of them becomes
// unreadable, the last good settings stay in force, so that a typing error does not turn signing off.
type Settings struct {
	signing *followed
	more    map[string]*followed // by name
	log     *zap.SugaredLogger

	reading  sync.Mutex // one change at a time
	mu       sync.RWMutex
	current  settings.Settings
	good     bool // current was read from the cluster
	unusable bool // there is a ConfigMap, and none was usable yet
	onChange []func()
}

// followed is a ConfigMap that is followed.
type followed struct {
	informer cache.SharedIndexInformer
	seen     cache.ResourceEventHandlerRegistration
	event    bool              // there was an event about it
	data     map[string]string // nil if there is none
}

// NewSettings returns the view of the ConfigMaps in Tekton's namespace. It is empty until Run has been called.
func NewSettings(client kubernetes.Interface, tektonNamespace string, log *zap.SugaredLogger) *Settings {
	s := &Settings{log: log, current: settings.Default(), more: map[string]*followed{}}
	follow := func(name string) *followed {
		f := &followed{informer: coreinformers.NewFilteredConfigMapInformer(client, tektonNamespace, 0, cache.Indexers{},
			onlyName(name))}
		f.seen = mustAdd(f.informer, onConfigMap(name, func(data map[string]string) {
			s.read(func() { f.event, f.data = true, data })
		}))
		return f
	}
	s.signing = follow(settings.ConfigMapName)
	for _, of := range backends.ConfigMaps() {
		s.more[of.Name] = follow(of.Name)
	}
	return s
}

// onConfigMap calls f with the data of the ConfigMap after every change, or with nil when it is gone.
func onConfigMap(name string, f func(map[string]string)) cache.ResourceEventHandler {
	read := func(obj any) {
		if cm, ok := obj.(*corev1.ConfigMap); ok && cm.Name == name {
			data := cm.Data
			if data == nil {
				data = map[string]string{}
			}
			f(data)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: read, UpdateFunc: func(_, obj any) { read(obj) },
		DeleteFunc: func(obj any) {
			if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil && strings.HasSuffix(key, "/"+name) {
				f(nil)
			}
		},
	}
}

// OnChange calls f after every change. Call it before Run.
func (s *Settings) OnChange(f func()) { s.onChange = append(s.onChange, f) }

// Run watches the ConfigMaps until ctx ends.
func (s *Settings) Run(ctx context.Context) {
	for _, f := range s.more {
		go s.run(ctx, f)
	}
	s.signing.informer.RunWithContext(ctx)
}

// run watches a ConfigMap of a backend.
func (s *Settings) run(ctx context.Context, f *followed) {
	go f.informer.RunWithContext(ctx)
	if cache.WaitForCacheSync(ctx.Done(), f.seen.HasSynced) {
		s.read(func() {}) // settings that had to wait
	}
}

// HasSynced reports whether the ConfigMap, or its absence, has been seen. It is false while there are no good
// settings, because the first ones are not usable: the defaults would turn signing off.
func (s *Settings) HasSynced() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.signing.seen.HasSynced() && !s.unusable
}

// Get returns the settings in force.
func (s *Settings) Get() settings.Settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current
}

// read takes over the data of the ConfigMaps after change.
func (s *Settings) read(change func()) {
	s.reading.Lock()
	defer s.reading.Unlock()
	change()
	switch {
	case !s.signing.event:
		return
	case s.signing.data == nil:
		s.set(settings.Default())
		return
	}
	parsed, err := settings.Parse(s.signing.data)
	of := backends.Of(parsed.Backend).ConfigMap
	if err == nil && of != nil {
		more := s.more[of.Name]
		if !more.seen.HasSynced() {
			s.wait()
			return
		}
		parsed, err = of.Read(parsed, more.data)
	}
	if err == nil {
		err = backends.Check(parsed)
	}
	if err != nil {
		s.refuse(err)
		return
	}
	s.set(parsed)
}

// wait leaves the settings as they are until the ConfigMap of their backend has been seen.
func (s *Settings) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unusable = !s.good
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
	s.log.Errorw("the settings cannot be used, "+state+": correct the ConfigMap, or run kubectl tekton-sign enable again",
		zap.Error(err))
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

// onlyName limits an informer to one object, which is also all that its role allows.
func onlyName(name string) func(*metav1.ListOptions) {
	return func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	}
}

// mustAdd adds a handler to an informer that has not started, which cannot fail.
func mustAdd(informer cache.SharedIndexInformer,
	handler cache.ResourceEventHandler) cache.ResourceEventHandlerRegistration {
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		panic(err)
	}
	return registration
}
