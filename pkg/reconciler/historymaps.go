// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// clockTolerance is how far ahead the clock of another replica may be.
const clockTolerance = 5 * time.Minute

// historyMaps are the ConfigMaps of the history as they were read, with the changes that must be written.
type historyMaps struct {
	uid      string
	maps     []*historyMap
	taken    map[int]bool // numbers in use, also by ConfigMaps of another cluster
	problems []error
}

// historyMap is one of them.
type historyMap struct {
	cm      *corev1.ConfigMap
	exists  bool
	changed bool
}

// list reads the ConfigMaps.
func (h *History) list(ctx context.Context, uid string) (*historyMaps, error) {
	list, err := h.client.CoreV1().ConfigMaps(manifests.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the trust history: %w", err)
	}
	all := &historyMaps{uid: uid, taken: map[int]bool{}}
	for i := range list.Items {
		cm := &list.Items[i]
		number, ok := trust.HistoryNumber(cm.Name)
		if !ok {
			continue
		}
		all.taken[number] = true
		m, err := trust.ReadHistoryMap(cm, uid)
		if err != nil {
			all.problems = append(all.problems, err)
			continue
		}
		all.problems = append(all.problems, m.Problems...)
		all.maps = append(all.maps, &historyMap{cm: cm.DeepCopy(), exists: true})
	}
	return all, nil
}

// entries returns everything in the ConfigMaps, with the changes that must be written.
func (m *historyMaps) entries() trust.History {
	h := trust.History{}
	for _, one := range m.maps {
		if read, err := trust.ReadHistoryMap(one.cm, m.uid); err == nil {
			h.Merge(read.Entries)
		}
	}
	return h
}

// repair finds the entries of have that lack something that was there before, or that cannot be right: only the last
// sighting may change, and it is never in the future. It restores them, and returns their keys.
func repair(stored, have trust.History, now time.Time) []string {
	var damaged []string
	for key, sightings := range stored {
		for _, s := range sightings {
			found, ok := have.Find(key, s)
			if !ok || !found.FirstSeen.Equal(s.FirstSeen.Time) || found.LastSeen.Before(s.LastSeen.Time) {
				damaged = append(damaged, key)
				break
			}
		}
	}
	for key, sightings := range have {
		if slices.ContainsFunc(sightings, func(s trust.Sighting) bool { return inFuture(s, now) }) {
			damaged = append(damaged, key)
		}
	}
	slices.Sort(damaged)
	damaged = slices.Compact(damaged)
	for _, key := range damaged {
		if before, ok := stored[key]; ok {
			have[key] = before
			continue
		}
		for _, s := range have[key] { // nobody here knows better: the key is kept, and not trusted beyond now
			if inFuture(s, now) {
				s.LastSeen, s.Current = trust.At(now), false
				s.FirstSeen = trust.At(earlier(s.FirstSeen.Time, now))
				have.Put(key, s)
			}
		}
	}
	return damaged
}

func inFuture(s trust.Sighting, now time.Time) bool { return s.LastSeen.After(now.Add(clockTolerance)) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// stage prepares the ConfigMaps for everything in want that have lacks, and for all damaged entries. It does not
// remove anything from a ConfigMap. If an entry does not fit, the others are still prepared.
func (m *historyMaps) stage(have, want trust.History, damaged []string, now time.Time) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(want)) {
		isDamaged := slices.Contains(damaged, key)
		if !isDamaged && !needsWrite(have, key, want[key], now) {
			continue
		}
		value, err := trust.EncodeEntry(want[key])
		if err == nil {
			err = m.put(key, value, isDamaged)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// needsWrite reports whether an entry is missing from have, or too old.
func needsWrite(have trust.History, key string, want []trust.Sighting, now time.Time) bool {
	return slices.ContainsFunc(want, func(s trust.Sighting) bool {
		stored, ok := have.Find(key, s)
		switch {
		case !ok:
			return true
		case s.Current:
			return !stored.Current || s.LastSeen.Sub(stored.LastSeen.Time) >= refreshAge
		}
		news := stored.Current || s.LastSeen.After(stored.LastSeen.Time)
		return news && now.Sub(s.LastSeen.Time) >= retireAge
	})
}

// put changes an entry where it is, everywhere if it was damaged. A new entry goes where there is room.
func (m *historyMaps) put(key, value string, everywhere bool) error {
	done := false
	for _, one := range m.maps {
		if _, ok := one.cm.Data[key]; ok && one.fits(key, value) && (everywhere || !done) {
			one.set(key, value)
			done = true
		}
	}
	if done {
		return nil
	}
	for _, one := range m.maps {
		if one.fits(key, value) {
			one.set(key, value)
			return nil
		}
	}
	for number := 1; number <= trust.HistoryMaps; number++ {
		if !m.taken[number] {
			one := &historyMap{cm: newHistoryMap(number, m.uid)}
			m.taken[number] = true
			m.maps = append(m.maps, one)
			one.set(key, value)
			return nil
		}
	}
	return fmt.Errorf("key %s finds no room in the %d ConfigMaps of the trust history: "+
		"keep it all with kubectl tekton-sign "+
		"trust export, then start anew with disable --purge and enable", key, trust.HistoryMaps)
}

func newHistoryMap(number int, uid string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: manifests.Namespace, Name: trust.HistoryName(number),
			Labels:      map[string]string{"app.kubernetes.io/name": "trust-history", manifests.LabelPartOf: manifests.PartOf},
			Annotations: map[string]string{trust.AnnotationCluster: uid},
		},
		Data: map[string]string{},
	}
}

// fits reports whether the ConfigMap may be written and stays below the limit.
func (o *historyMap) fits(key, value string) bool {
	if o.cm.DeletionTimestamp != nil || o.cm.Immutable != nil && *o.cm.Immutable {
		return false
	}
	size := trust.HistorySize(o.cm) + len(key) + len(value)
	if old, ok := o.cm.Data[key]; ok {
		size -= len(key) + len(old)
	}
	return size < trust.HistoryBytes
}

func (o *historyMap) set(key, value string) {
	if o.cm.Data[key] == value {
		return
	}
	if o.cm.Data == nil {
		o.cm.Data = map[string]string{}
	}
	o.cm.Data[key] = value
	o.changed = true
}

// write writes what was prepared. If one ConfigMap fails, the others are still written.
func (h *History) write(ctx context.Context, m *historyMaps) error {
	client := h.client.CoreV1().ConfigMaps(manifests.Namespace)
	var errs []error
	for _, one := range m.maps {
		var err error
		switch {
		case !one.changed:
		case one.exists: // it bears the version that was read: another writer's change is never overwritten
			_, err = client.Update(ctx, one.cm, metav1.UpdateOptions{FieldManager: manifests.Controller})
		default:
			_, err = client.Create(ctx, one.cm, metav1.CreateOptions{FieldManager: manifests.Controller})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("writing ConfigMap %s of the trust history: %w", one.cm.Name, err))
		}
	}
	return errors.Join(errs...)
}
