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
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
)

// Settings watches ConfigMap config-signing, and Tekton's config-spire for the backend spire. If one of them becomes
// unreadable, the last good settings stay in force, so that a typing error does not turn signing off.
type Settings struct {
	informer, spire cache.SharedIndexInformer
	seen, seenSPIRE cache.ResourceEventHandlerRegistration
	log             *zap.SugaredLogger

	reading  sync.Mutex // one change at a time
	mu       sync.RWMutex
	current  settings.Settings
	good     bool // current was read from the cluster
	unusable bool // there is a ConfigMap, and none was usable yet
	onChange []func()

	found     bool              // config-signing has been seen, or that it is gone
	data      map[string]string // of config-signing; nil if there is none
	spireData map[string]string // of config-spire; nil if there is none
}

// NewSettings returns the view of the ConfigMaps in Tekton's namespace. It is empty until Run has been called.
func NewSettings(client kubernetes.Interface, tektonNamespace string, log *zap.SugaredLogger) *Settings {
	follow := func(name string) cache.SharedIndexInformer {
		return coreinformers.NewFilteredConfigMapInformer(client, tektonNamespace, 0, cache.Indexers{}, onlyName(name))
	}
	s := &Settings{
		informer: follow(settings.ConfigMapName), spire: follow(config.ConfigMapName),
		log: log, current: settings.Default(),
	}
	s.seen = mustAdd(s.informer, onConfigMap(settings.ConfigMapName, func(data map[string]string) {
		s.read(func() { s.data, s.found = data, true })
	}))
	s.seenSPIRE = mustAdd(s.spire, onConfigMap(config.ConfigMapName, func(data map[string]string) {
		s.read(func() { s.spireData = data })
	}))
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
	go s.runSPIRE(ctx)
	s.informer.RunWithContext(ctx)
}

func (s *Settings) runSPIRE(ctx context.Context) {
	go s.spire.RunWithContext(ctx)
	if cache.WaitForCacheSync(ctx.Done(), s.seenSPIRE.HasSynced) {
		s.read(func() {}) // settings that had to wait
	}
}

// HasSynced reports whether the ConfigMap, or its absence, has been seen. It is false while there are no good
// settings, because the first ones are not usable: the defaults would turn signing off.
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

// read takes over the data of the ConfigMaps after change. Settings of the backend spire wait for config-spire.
func (s *Settings) read(change func()) {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mu.Lock()
	change()
	found, data, spire := s.found, s.data, s.spireData
	s.mu.Unlock()
	switch {
	case !found:
		return
	case data == nil:
		s.set(settings.Default())
		return
	}
	parsed, err := parse(data, spire)
	switch {
	case parsed.Backend == signing.BackendSPIRE && !s.spire.HasSynced():
		s.mu.Lock()
		s.unusable = !s.good
		s.mu.Unlock()
	case err != nil:
		s.refuse(err)
	default:
		s.set(parsed)
	}
}

// parse reads the settings from the data of the two ConfigMaps.
func parse(data, spire map[string]string) (settings.Settings, error) {
	parsed, err := settings.Parse(data)
	if err == nil && parsed.Backend == signing.BackendSPIRE {
		parsed, err = parsed.WithSPIRE(spire)
	}
	if err == nil {
		err = backends.Check(parsed)
	}
	return parsed, err
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
