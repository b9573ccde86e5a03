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
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
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
	spiffe  []trust.SPIFFEBundle // in use now
	foreign []trust.SPIFFEBundle // in use now, of federated trust domains
	down    bool                 // the issuer does not answer
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
			return &trust.Cluster{UID: clusterUID, ServiceAccountIssuers: []trust.Issuer{issuer}, SPIFFE: l.spiffe}, nil
		},
		Federated: func() []trust.SPIFFEBundle { return l.foreign },
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

var keyCount int

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

// TestHistoryOfTwoReplicas: both see new keys and write at the same time.
func TestHistoryOfTwoReplicas(t *testing.T) {
	l := newHistoryLab(t)
	l.live = []trust.JWK{newKey(t), newKey(t)}
	one, two := l.replica(), l.replica()
	var wait sync.WaitGroup
	for _, h := range []*History{one, two} {
		wait.Go(func() {
			if err := h.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := l.stored(); len(got) != 2 {
		t.Errorf("stored keys: got %q, want both", kids(got))
	}
	if got := l.warnings(); len(got) > 0 {
		t.Errorf("replicas take each other for intruders: %v", got)
	}
}

// TestHistoryReplicasDoNotQuarrel: two API servers disagree on a key for a while. The replicas that ask them must
// not undo each other's writes.
func TestHistoryReplicasDoNotQuarrel(t *testing.T) {
	l := newHistoryLab(t)
	a, b := newKey(t), newKey(t)
	one, two := l.replica(), l.replica()
	l.live = []trust.JWK{a, b}
	l.sync(one)
	version := l.version
	for range 5 {
		l.clock = l.clock.Add(time.Minute)
		l.live = []trust.JWK{a}
		if err := two.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.live = []trust.JWK{a, b}
		if err := one.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if l.version != version {
		t.Errorf("got %d writes, want none", l.version-version)
	}
}

// TestHistoryNeverLosesAKey runs random sequences of looks by two replicas, rotations, restarts, failing and
// conflicting writes, and changes by somebody else. In the end everything is stored that some replica knew.
func TestHistoryNeverLosesAKey(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runRandomly(t, mathrand.New(mathrand.NewPCG(seed, 1))) })
	}
}

func runRandomly(t *testing.T, r *mathrand.Rand) {
	l := newHistoryLab(t)
	replicas := []*History{l.replica(), l.replica()}
	l.live = []trust.JWK{newKey(t)}
	known := func() map[string]bool { // what would be lost if it disappeared
		all := map[string]bool{}
		for key := range l.stored() {
			all[key] = true
		}
		for _, h := range replicas {
			for key := range h.seen {
				all[key] = true
			}
		}
		return all
	}
	expected := map[string]bool{}
	for range 60 {
		l.clock = l.clock.Add(time.Duration(r.IntN(50)) * time.Minute)
		attack := false
		switch r.IntN(8) {
		case 0: // rotate
			l.live = append(l.live, newKey(t))
			if len(l.live) > 2 {
				l.live = l.live[1:]
			}
		case 1, 2, 3: // look, while writes fail now and then
			l.fail = randomFailures(l, r)
			_ = replicas[r.IntN(2)].Sync(t.Context())
			l.fail = nil
		case 4:
			l.down = r.IntN(2) == 0
			_, _ = replicas[r.IntN(2)].Cluster(t.Context())
			l.down = false
		case 5: // a restart forgets what was not stored
			replicas[r.IntN(2)] = l.replica()
			attack = true
		case 6: // somebody removes an entry or a whole ConfigMap
			attack = true
			for name := range l.maps {
				if r.IntN(2) == 0 {
					l.remove(name)
					break
				}
				l.tamper(name, func(cm *corev1.ConfigMap) {
					for key := range cm.Data {
						delete(cm.Data, key)
						break
					}
				})
				break
			}
		case 7: // one is full
			for name := range l.maps {
				l.tamper(name, func(cm *corev1.ConfigMap) {
					delete(cm.Data, "filler")
					cm.Data["filler"] = strings.Repeat("x", max(0, trust.HistoryBytes-trust.HistorySize(cm)-300))
				})
				break
			}
		}
		now := known()
		if attack {
			expected = now // only what nobody else knew may be gone
			continue
		}
		for key := range expected {
			if !now[key] {
				t.Fatalf("key %s was lost", key)
			}
		}
		expected = now
	}
	for range 2 {
		for _, h := range replicas {
			l.sync(h)
		}
	}
	stored := l.stored()
	for key := range expected {
		if _, ok := stored[key]; !ok {
			t.Errorf("key %s is not stored in the end", key)
		}
	}
	for _, h := range replicas {
		if _, err := h.seen.Cluster("", clusterUID); err != nil {
			t.Error(err)
		}
	}
}

// randomFailures has some requests fail, some as if another writer had been faster.
func randomFailures(l *historyLab, r *mathrand.Rand) func(verb, name string) error {
	return func(verb, name string) error {
		switch r.IntN(6) {
		case 0:
			return apierrors.NewConflict(corev1.Resource("configmaps"), name, errors.New("another version"))
		case 1:
			return apierrors.NewInternalError(errors.New("etcd is slow"))
		case 2: // somebody else writes at the very moment
			if cm, ok := l.maps[name]; ok && verb == "update" {
				l.version++
				cm.ResourceVersion = strconv.Itoa(l.version)
			}
		}
		return nil
	}
}

// TestHistoryRun wants a look at once, and another when a ConfigMap changes.
func TestHistoryRun(t *testing.T) {
	client := fake.NewClientset()
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
				slices.Equal(rule.ResourceNames, []string{delivery.ConfigMapName}) {
				continue // ConfigMap delivery is no part of the history
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
