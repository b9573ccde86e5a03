// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

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
