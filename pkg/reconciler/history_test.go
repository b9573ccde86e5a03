// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

const (
	clusterUID = "0b0e2c1a-77b4-4f4b-8f43-3a0c5d0f3c55"
	otherUID   = "1b0e2c1a-77b4-4f4b-8f43-3a0c5d0f3c55"
)

var keyCount int

func TestHistoryRecordsARotation(t *testing.T) {
	l := newHistoryLab(t)
	a, b := newKey(t), newKey(t)
	l.live = []trust.JWK{a}
	h := l.replica()
	l.sync(h)
	l.want(a.KeyID + "*")
	first := l.clock
	l.live = []trust.JWK{a, b}
	l.sync(h)
	lastA := l.clock
	l.live = []trust.JWK{b}
	l.sync(h)
	l.want(a.KeyID + " " + b.KeyID + "*")

	c, err := h.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range c.ServiceAccountIssuers[0].Keys {
		if k.JWK.KeyID == a.KeyID && (!k.NotBefore.Equal(first) || !k.NotAfter.Equal(lastA)) {
			t.Errorf("window of the old key: got %s to %s, want %s to %s", k.NotBefore, k.NotAfter, first, lastA)
		}
	}
	if got := l.warnings(); len(got) > 0 {
		t.Errorf("a rotation is no reason for %v", got)
	}
	version := l.version
	if err := h.Sync(t.Context()); err != nil || l.version != version {
		t.Errorf("looking twice wrote again (%v)", err)
	}
}

// TestHistoryVerifiesAfterRestart: a new replica verifies with what an earlier one stored, from its first answer
// on, and stores a key that it meets before it looked by itself.
func TestHistoryVerifiesAfterRestart(t *testing.T) {
	l := newHistoryLab(t)
	a, b := newKey(t), newKey(t)
	l.live = []trust.JWK{a}
	l.sync(l.replica())
	l.live = []trust.JWK{b}
	fresh := l.replica()
	c, err := fresh.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.ServiceAccountIssuers[0].Keys); n != 2 {
		t.Errorf("got %d keys to verify with, want the old and the new one", n)
	}
	select {
	case <-fresh.wake:
	default:
		t.Error("a new key does not have the history looked at")
	}
	l.down = true // it is stored even if the issuer is gone by now
	if err := fresh.Sync(t.Context()); err == nil {
		t.Error("that the issuer does not answer was swallowed")
	}
	if got := l.stored(); len(got) != 2 {
		t.Errorf("stored keys: got %q, want both", kids(got))
	}
}

func TestHistoryWithoutConfigMapsVerifiesWithLiveKeys(t *testing.T) {
	l := newHistoryLab(t)
	l.live = []trust.JWK{newKey(t)}
	l.fail = func(string, string) error {
		return apierrors.NewForbidden(corev1.Resource("configmaps"), "", errors.New("no"))
	}
	h := l.replica()
	c, err := h.Cluster(t.Context())
	if err != nil || len(c.ServiceAccountIssuers[0].Keys) != 1 {
		t.Errorf("got %+v and %v, want the live key", c, err)
	}
	if err := h.Sync(t.Context()); err == nil {
		t.Error("a failure to keep the history was swallowed")
	}
}

// TestHistoryIsRepaired changes what is stored in every way and expects it to be put back, with an event.
func TestHistoryIsRepaired(t *testing.T) {
	name := trust.HistoryName(1)
	edit := func(change func(text string) string) func(*historyLab, string) {
		return func(l *historyLab, key string) {
			l.tamper(name, func(cm *corev1.ConfigMap) {
				changed := change(cm.Data[key])
				if changed == cm.Data[key] {
					l.t.Fatalf("nothing to change in %s", cm.Data[key])
				}
				cm.Data[key] = changed
			})
		}
	}
	for what, tamper := range map[string]func(*historyLab, string){
		"entry removed": func(l *historyLab,
			key string) {
			l.tamper(name, func(cm *corev1.ConfigMap) { delete(cm.Data, key) })
		},
		"all removed":       func(l *historyLab, _ string) { l.tamper(name, func(cm *corev1.ConfigMap) { cm.Data = nil }) },
		"ConfigMap deleted": func(l *historyLab, _ string) { l.remove(name) },
		"junk":              edit(func(string) string { return "junk" }),
		"another issuer":    edit(func(s string) string { return strings.Replace(s, "https://i", "https://evil", 1) }),
		"another kid":       edit(func(s string) string { return strings.Replace(s, `"kid":"`, `"kid":"x`, 1) }),
		"first seen before": edit(func(s string) string {
			return strings.Replace(s, `"firstSeen":"2026`, `"firstSeen":"2020`,
				1)
		}),
		"last seen before": edit(func(s string) string { return strings.Replace(s, "T02:00:00Z", "T01:00:00Z", 1) }),
		"last seen in the future": edit(func(s string) string {
			return strings.Replace(s, `"lastSeen":"2026`, `"lastSeen":"2036`, 1)
		}),
	} {
		t.Run(what, func(t *testing.T) {
			l := newHistoryLab(t)
			a, b := newKey(t), newKey(t)
			h := l.replica()
			l.live = []trust.JWK{a}
			l.sync(h)
			l.sync(h)
			l.live = []trust.JWK{b}
			l.sync(h)
			before := l.stored()
			key := "" // of the retired key, which nobody can fetch any more
			for k, s := range before {
				if s[0].JWK.KeyID == a.KeyID {
					key = k
				}
			}
			tamper(l, key)
			if err := h.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			after := l.stored()
			if want, got := before[key][0], after[key]; len(got) != 1 || got[0].Issuer != want.Issuer ||
				*got[0].JWK != *want.JWK ||
				got[0].FirstSeen != want.FirstSeen || got[0].LastSeen != want.LastSeen || got[0].Current {
				t.Errorf("the entry was not put back: got %+v, want %+v", got, want)
			}
			if got, want := l.warnings(), []string{"Warning TrustHistoryRepaired"}; !slices.Equal(got, want) {
				t.Errorf("events: got %v, want %v", got, want)
			}
			version := l.version
			if err := h.Sync(t.Context()); err != nil || l.version != version || len(l.warnings()) > 0 {
				t.Errorf("after the repair: got %v, and written again: %v, want quiet", err, l.version != version)
			}
		})
	}
}

func TestHistoryTellsOfForeignKeys(t *testing.T) {
	l := newHistoryLab(t)
	l.live = []trust.JWK{newKey(t)}
	h := l.replica()
	l.sync(h)
	l.add(newKey(t))
	l.sync(h)
	if got, want := l.warnings(), []string{"Warning TrustHistoryForeignKey"}; !slices.Equal(got, want) {
		t.Errorf("events: got %v, want %v", got, want)
	}
}

// TestHistoryRefusesContradictions: another key under a known key ID must not keep the add-on from verifying, and
// whoever deletes it has deleted it.
func TestHistoryRefusesContradictions(t *testing.T) {
	l := newHistoryLab(t)
	a, b := newKey(t), newKey(t)
	l.live = []trust.JWK{a}
	h := l.replica()
	l.sync(h)
	l.live = []trust.JWK{b}
	l.sync(h)
	twin := newKey(t)
	twin.KeyID = a.KeyID
	dataKey := l.add(twin)
	l.sync(h)
	c, err := h.Cluster(t.Context())
	if err != nil || len(c.ServiceAccountIssuers[0].Keys) != 2 {
		t.Errorf("got %+v and %v, want the two keys of the cluster", c, err)
	}
	if got, want := l.warnings(), []string{"Warning TrustHistoryForeignKey"}; !slices.Equal(got, want) {
		t.Errorf("events: got %v, want %v", got, want)
	}
	l.tamper(trust.HistoryName(1), func(cm *corev1.ConfigMap) { delete(cm.Data, dataKey) })
	l.sync(h)
	l.want(a.KeyID + " " + b.KeyID + "*")
	if got := l.warnings(); len(got) > 0 {
		t.Errorf("events: got %v, want none", got)
	}
}

// TestHistoryLeavesOtherClustersAlone: a ConfigMap restored from another cluster is neither used nor changed.
func TestHistoryLeavesOtherClustersAlone(t *testing.T) {
	l := newHistoryLab(t)
	l.live = []trust.JWK{newKey(t)}
	foreign := newHistoryMap(1, otherUID)
	foreign.Data["sa.x"] = "theirs"
	l.put(foreign)
	l.sync(l.replica())
	if got := l.maps[trust.HistoryName(1)]; len(got.Data) != 1 || got.Data["sa.x"] != "theirs" {
		t.Errorf("the other cluster's ConfigMap was changed: %v", got.Data)
	}
	if _, ok := l.maps[trust.HistoryName(2)]; !ok {
		t.Error("the cluster's own history found no place")
	}
}

// TestHistoryStartsANewConfigMap fills one almost up, and expects the next key in a second one and none lost. One that
// somebody made immutable counts as full.
func TestHistoryStartsANewConfigMap(t *testing.T) {
	fill := func(cm *corev1.ConfigMap) {
		cm.Data["filler"] = strings.Repeat("x", trust.HistoryBytes-trust.HistorySize(cm)-100)
	}
	immutable := func(cm *corev1.ConfigMap) { yes := true; cm.Immutable = &yes }
	for name, change := range map[string]func(*corev1.ConfigMap){"full": fill, "immutable": immutable} {
		t.Run(name, func(t *testing.T) {
			l := newHistoryLab(t)
			a, b := newKey(t), newKey(t)
			l.live = []trust.JWK{a}
			h := l.replica()
			l.sync(h)
			l.tamper(trust.HistoryName(1), change)
			l.live = []trust.JWK{a, b}
			l.sync(h)
			l.want(a.KeyID + "* " + b.KeyID + "*")
			if len(l.maps) != 2 {
				t.Errorf("got %d ConfigMaps, want 2", len(l.maps))
			}
		})
	}
}

// TestHistoryFull: with no room left every key stays in memory, and it is said.
func TestHistoryFull(t *testing.T) {
	l := newHistoryLab(t)
	for n := 1; n <= trust.HistoryMaps; n++ {
		cm := newHistoryMap(n, clusterUID)
		cm.Data["filler"] = strings.Repeat("x", trust.HistoryBytes-100)
		l.put(cm)
	}
	a := newKey(t)
	l.live = []trust.JWK{a}
	h := l.replica()
	if err := h.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "finds no room") {
		t.Errorf("got %v, want an error that there is no room", err)
	}
	l.live = []trust.JWK{newKey(t)}
	c, err := h.Cluster(t.Context())
	if err != nil || len(c.ServiceAccountIssuers[0].Keys) != 2 {
		t.Errorf("got %+v and %v, want both keys", c, err)
	}
}

// TestHistoryRun wants a look at once, and another when a ConfigMap changes.
func TestHistoryRun(t *testing.T) {
	client := fake.NewClientset()
	watched := make(chan struct{}) // the fake forgets what happens between a list and its watch
	var once sync.Once
	client.PrependWatchReactor("configmaps", func(a k8stesting.Action) (bool, watch.Interface, error) {
		w, err := client.Tracker().Watch(a.GetResource(), a.GetNamespace())
		once.Do(func() { close(watched) })
		return true, w, err
	})
	key := newKey(t)
	h := NewHistory(HistoryConfig{
		Client: client, Recorder: record.NewFakeRecorder(10), Log: zap.NewNop().Sugar(), Now: time.Now,
		Fetch: func(context.Context) (*trust.Cluster, error) {
			return &trust.Cluster{UID: clusterUID, ServiceAccountIssuers: []trust.Issuer{{
				Issuer: "https://i", Keys: []trust.IssuerKey{{JWK: key}},
			}}}, nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { h.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	maps := client.CoreV1().ConfigMaps(manifests.Namespace)
	await := func(what string) {
		t.Helper()
		for range 200 {
			if cm, err := maps.Get(ctx, trust.HistoryName(1), metav1.GetOptions{}); err == nil && len(cm.Data) == 1 {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("%s: no entry after 10 s", what)
	}
	await("at the start")
	<-watched
	if err := maps.Delete(ctx, trust.HistoryName(1), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await("after its ConfigMap was deleted")
}

// TestHistoryRole: the add-on's role allows exactly what the history takes.
func TestHistoryRole(t *testing.T) {
	objects, err := manifests.Render(manifests.Options{TektonNamespace: "tekton-pipelines", Registry: "r", Version: "v",
		Settings: settings.Default()})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, object := range objects {
		role, ok := object.(*rbacv1.Role)
		if !ok || role.Namespace != manifests.Namespace {
			continue
		}
		for _, rule := range role.Rules {
			if !slices.Contains(rule.Resources, "configmaps") ||
				slices.Equal(rule.ResourceNames, []string{delivery.ConfigMapName}) ||
				slices.Equal(rule.ResourceNames, []string{"spire-report"}) {
				continue // these ConfigMaps are no part of the history
			}
			if slices.Contains(rule.Verbs, "update") {
				names = append(names, rule.ResourceNames...)
			}
			for _, verb := range rule.Verbs {
				if !slices.Contains([]string{"get", "list", "watch", "create", "update"}, verb) {
					t.Errorf("the add-on may %s ConfigMaps", verb)
				}
			}
		}
	}
	var want []string
	for n := 1; n <= trust.HistoryMaps; n++ {
		want = append(want, trust.HistoryName(n))
	}
	if !slices.Equal(names, want) {
		t.Errorf("ConfigMaps to update: got %v, want %v", names, want)
	}
}
