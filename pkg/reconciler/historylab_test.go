// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// historyLab is a cluster with an issuer, ConfigMaps behind optimistic concurrency, and a clock.
type historyLab struct {
	t      *testing.T
	client *fake.Clientset
	events *record.FakeRecorder
	clock  time.Time

	mu      sync.Mutex
	maps    map[string]*corev1.ConfigMap
	version int
	fail    func(verb, name string) error // nil: nothing fails
	live    []trust.JWK
	spiffe  []trust.Domain // in use now
	foreign []trust.Domain // in use now, of federated trust domains
	down    bool           // the issuer does not answer
}

func newHistoryLab(t *testing.T) *historyLab {
	t.Helper()
	l := &historyLab{
		t: t, client: fake.NewClientset(), events: record.NewFakeRecorder(1000), maps: map[string]*corev1.ConfigMap{},
		clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	l.client.PrependReactor("*", "configmaps", l.react)
	return l
}

// react is the API server.
func (l *historyLab) react(action clienttesting.Action) (bool, runtime.Object, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if action.GetNamespace() != manifests.Namespace {
		l.t.Errorf("%s of ConfigMaps in namespace %q", action.GetVerb(), action.GetNamespace())
	}
	resource := corev1.Resource("configmaps")
	switch a := action.(type) {
	case clienttesting.ListActionImpl:
		list := &corev1.ConfigMapList{}
		for _, name := range slices.Sorted(maps.Keys(l.maps)) {
			list.Items = append(list.Items, *l.maps[name].DeepCopy())
		}
		return true, list, l.failure("list", "")
	case clienttesting.UpdateActionImpl:
		cm, _ := a.Object.(*corev1.ConfigMap)
		stored, ok := l.maps[cm.Name]
		if err := l.failure("update", cm.Name); err != nil {
			return true, nil, err
		}
		switch {
		case !ok:
			return true, nil, apierrors.NewNotFound(resource, cm.Name)
		case stored.ResourceVersion != cm.ResourceVersion:
			return true, nil, apierrors.NewConflict(resource, cm.Name, errors.New("another version"))
		case stored.Immutable != nil && *stored.Immutable:
			return true, nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("ConfigMap").GroupKind(), cm.Name, nil)
		}
		l.put(cm)
		return true, cm, nil
	case clienttesting.CreateActionImpl:
		cm, _ := a.Object.(*corev1.ConfigMap)
		if err := l.failure("create", cm.Name); err != nil {
			return true, nil, err
		}
		if _, ok := l.maps[cm.Name]; ok {
			return true, nil, apierrors.NewAlreadyExists(resource, cm.Name)
		}
		l.put(cm)
		return true, cm, nil
	}
	l.t.Errorf("the add-on must not %s ConfigMaps", action.GetVerb())
	return true, nil, errors.New("unexpected")
}

func (l *historyLab) failure(verb, name string) error {
	if l.fail == nil {
		return nil
	}
	return l.fail(verb, name)
}

// put stores an object as etcd would: not if it is too big.
func (l *historyLab) put(cm *corev1.ConfigMap) {
	if _, ok := trust.HistoryNumber(cm.Name); !ok {
		l.t.Errorf("wrote ConfigMap %s, which its role does not allow", cm.Name)
	}
	if size := trust.HistorySize(cm); size >= trust.HistoryBytes {
		l.t.Errorf("ConfigMap %s has %d bytes, want less than %d", cm.Name, size, trust.HistoryBytes)
	}
	l.version++
	cm = cm.DeepCopy()
	cm.ResourceVersion = strconv.Itoa(l.version)
	l.maps[cm.Name] = cm
}

// tamper changes a ConfigMap as somebody with the right to does.
func (l *historyLab) tamper(name string, change func(*corev1.ConfigMap)) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	cm, ok := l.maps[name]
	if !ok {
		l.t.Fatalf("there is no ConfigMap %s", name)
	}
	cm = cm.DeepCopy()
	change(cm)
	l.version++
	cm.ResourceVersion = strconv.Itoa(l.version)
	l.maps[name] = cm
}

func (l *historyLab) remove(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.maps, name)
}

// replica returns one more replica of the add-on.
func (l *historyLab) replica() *History {
	return NewHistory(HistoryConfig{
		Client: l.client, Recorder: l.events, Log: zap.NewNop().Sugar(), Now: func() time.Time { return l.clock },
		Fetch: func(context.Context) (*trust.Cluster, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.down {
				return nil, errors.New("connection refused")
			}
			issuer := trust.Issuer{Issuer: "https://i"}
			for _, k := range l.live {
				issuer.Keys = append(issuer.Keys, trust.IssuerKey{JWK: k})
			}
			return &trust.Cluster{UID: clusterUID, ServiceAccountIssuers: []trust.Issuer{issuer}, Domains: l.spiffe}, nil
		},
		Federated: func(c *trust.Cluster) { c.Domains = append(c.Domains, l.foreign...) },
	})
}

// sync lets a replica look, one hour after the last time.
func (l *historyLab) sync(h *History) {
	l.t.Helper()
	l.clock = l.clock.Add(time.Hour)
	if err := h.Sync(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// stored returns what the plugin would read.
func (l *historyLab) stored() trust.History {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []corev1.ConfigMap
	for _, cm := range l.maps {
		list = append(list, *cm)
	}
	h, _ := trust.ReadHistory(list, clusterUID)
	return h
}

// kids lists the key IDs of a history, those in use with a star.
func kids(h trust.History) string {
	var all []string
	for _, sightings := range h {
		for _, s := range sightings {
			name := s.JWK.KeyID
			if s.Current {
				name += "*"
			}
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (l *historyLab) want(kidsWanted string) {
	l.t.Helper()
	if got := kids(l.stored()); got != kidsWanted {
		l.t.Errorf("stored keys: got %q, want %q", got, kidsWanted)
	}
}

// warnings returns the reasons of the events so far.
func (l *historyLab) warnings() []string {
	var all []string
	for {
		select {
		case e := <-l.events.Events:
			fields := strings.Fields(e)
			all = append(all, fields[0]+" "+fields[1])
		default:
			return all
		}
	}
}

func newKey(t *testing.T) trust.JWK {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	keyCount++
	return trust.JWK{
		KeyType: "EC", KeyID: fmt.Sprintf("k%03d", keyCount), Algorithm: "ES256", Curve: "P-256",
		X: text(point[1:33]), Y: text(point[33:]),
	}
}

// add writes a key into the first ConfigMap as somebody else may, and returns its data key.
func (l *historyLab) add(key trust.JWK) string {
	l.t.Helper()
	evil := trust.History{}
	if err := evil.Observe(&trust.Cluster{ServiceAccountIssuers: []trust.Issuer{{
		Issuer: "https://i", Keys: []trust.IssuerKey{{JWK: key}},
	}}}, l.clock); err != nil {
		l.t.Fatal(err)
	}
	for dataKey, sightings := range evil {
		text, err := trust.EncodeEntry(sightings)
		if err != nil {
			l.t.Fatal(err)
		}
		l.tamper(trust.HistoryName(1), func(cm *corev1.ConfigMap) { cm.Data[dataKey] = text })
		return dataKey
	}
	return ""
}
