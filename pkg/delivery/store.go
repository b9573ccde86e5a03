// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Shares of the ConfigMap, in bytes: of the keeper's exceptions, of the controller's exceptions for namespaces, of
// those for TaskRuns, and of the requests for trials. Each has its own share, so that none can take the room of
// another. Together they stay below the limit for an object (1 MiB).
const (
	maxSize  = 400 << 10 // for each of the first two
	maxOnce  = 100 << 10
	maxMarks = 120 << 10
)

// maxOnceIn is how many TaskRuns of one namespace have an exception at most, so that no namespace takes the room of
// the others.
const maxOnceIn = 40

// shareOf returns the last parts of keys that share room with last, and that room in bytes.
func shareOf(last string) (lasts []string, room int) {
	switch last {
	case string(Trial):
		return []string{last}, maxSize
	case string(Once):
		return []string{last}, maxOnce
	case keyRefused:
		return []string{last}, maxMarks
	}
	return []string{string(Start), string(Mount), string(Refusal)}, maxSize
}

// lastOf returns the last part of a key.
func lastOf(key string) string { return key[strings.LastIndex(key, ".")+1:] }

// hasRoom reports whether data has room for a key with this value.
func hasRoom(data map[string]string, key, value string) bool {
	last := lastOf(key)
	lasts, room := shareOf(last)
	namespace, _, _ := strings.Cut(key, ".")
	used, there := len(key)+len(value), 1
	for other, held := range data {
		if other == key || !slices.Contains(lasts, lastOf(other)) {
			continue
		}
		used += len(other) + len(held)
		if strings.HasPrefix(other, namespace+".") {
			there++
		}
	}
	return used <= room && (last != string(Once) || there <= maxOnceIn)
}

// ErrFull means that the ConfigMap has no room for more keys of this kind.
var ErrFull = errors.New("ConfigMap " + ConfigMapName + " is full: too many namespaces have an exception")

// Store writes the exceptions of one source. Each write changes one key, so that two writers cannot undo each
// other's changes.
type Store struct {
	client Client
	view   *View
	source Source
	owner  string // the field manager

	mu sync.Mutex // one write at a time, so that the size is known
}

// NewStore returns the store of a source. It reads the ConfigMap from view.
func NewStore(client Client, view *View, source Source, owner string) *Store {
	return &Store{client: client, view: view, source: source, owner: owner}
}

// Set writes the exception of a namespace. If the same exception exists, it keeps its time. Set returns
// ErrFull if there is no room.
func (s *Store) Set(ctx context.Context, namespace string, e Exception) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Image = s.view.image
	value, err := e.encode()
	if err != nil {
		return fmt.Errorf("exception of namespace %s: %w", namespace, err)
	}
	stored, err := parseException(value)
	if err != nil {
		return fmt.Errorf("exception of namespace %s: %w", namespace, err)
	}
	i := id{namespace, s.source, e.TaskRun}
	stored.TaskRun = e.TaskRun
	if before, ok := s.view.Table().exceptions[i]; ok && before.Same(stored) {
		return nil
	}
	key := i.key()
	if _, err := parseKey(key); err != nil {
		return fmt.Errorf("exception of namespace %s: %w", namespace, err)
	}
	gone, ok := s.makeRoom(i, value, e.Since)
	if !ok {
		return ErrFull
	}
	gone[key] = value
	return s.patch(ctx, gone)
}

// onceServes is how long an exception of one TaskRun serves: by then the TaskRun has another pod. It is kept for longer
// so that people see it, as far as others do not need the room. If it ends before, the TaskRun gets another one later.
const onceServes = time.Minute

// makeRoom returns the keys to remove, with the value nil, so that there is room for a new one; ok is false if there is
// none. It removes exceptions of TaskRuns only, for others of their kind: those of the namespace that has the most of
// them, the oldest first. So TaskRuns of one namespace do not keep those of another waiting.
func (s *Store) makeRoom(i id, value string, now time.Time) (gone map[string]any, ok bool) {
	data, gone := maps.Clone(s.view.data()), map[string]any{}
	for !hasRoom(data, i.key(), value) {
		if i.source != Once {
			return nil, false
		}
		e, found := leastNeeded(Parse(data).Entries(), i.namespace, now)
		if !found {
			return nil, false
		}
		delete(data, e.id().key())
		gone[e.id().key()] = nil
	}
	return gone, true
}

// leastNeeded returns the exception of a TaskRun that makes room for one of a namespace.
func leastNeeded(entries []Entry, namespace string, now time.Time) (least Entry, found bool) {
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return e.Source != Once })
	in := map[string]int{}
	for _, e := range entries {
		in[e.Namespace]++
	}
	for _, e := range entries {
		serves := now.Sub(e.Since) < onceServes && in[e.Namespace] <= in[namespace]+1
		switch {
		case serves, in[namespace] >= maxOnceIn && e.Namespace != namespace:
		case !found, in[e.Namespace] > in[least.Namespace],
			in[e.Namespace] == in[least.Namespace] && e.Since.Before(least.Since):
			least, found = e, true
		}
	}
	return least, found
}

// Clear removes the exception of a namespace, with any image.
func (s *Store) Clear(ctx context.Context, namespace string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(ctx, id{namespace: namespace, source: s.source}.key())
}

// End removes one exception, whatever its source is.
func (s *Store) End(ctx context.Context, e Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(ctx, e.id().key())
}

// Forget removes the exceptions of all sources for a namespace that no longer exists.
func (s *Store) Forget(ctx context.Context, namespace string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, gone := s.view.data(), map[string]any{}
	for _, e := range Parse(data).Entries() {
		if e.Namespace == namespace {
			gone[e.id().key()] = nil
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return s.patch(ctx, gone)
}

// AskForTrial requests a new trial in a namespace from the keeper, because a pod was refused at the given
// time. It returns ErrFull if too many namespaces have requests.
func (s *Store) AskForTrial(ctx context.Context, namespace string, refused time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, value := refusedKey(namespace), refused.UTC().Format(time.RFC3339)
	switch _, asked := s.view.data()[key]; {
	case asked:
		return nil
	case !hasRoom(s.view.data(), key, value):
		return ErrFull
	}
	return s.patch(ctx, map[string]any{key: value})
}

// ClearRequest removes the request of AskForTrial.
func (s *Store) ClearRequest(ctx context.Context, namespace string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(ctx, refusedKey(namespace))
}

func refusedKey(namespace string) string { return namespace + "." + keyRefused }

func (s *Store) remove(ctx context.Context, key string) error {
	if _, ok := s.view.data()[key]; !ok {
		return nil
	}
	return s.patch(ctx, map[string]any{key: nil})
}

func (s *Store) patch(ctx context.Context, data map[string]any) error {
	return patch(ctx, s.client, s.owner, data)
}

// patch changes keys of the data.
func patch(ctx context.Context, client Client, owner string, data map[string]any) error {
	content, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return fmt.Errorf("encoding a change of ConfigMap %s: %w", ConfigMapName, err)
	}
	_, err = client.CoreV1().ConfigMaps(settings.Namespace).Patch(ctx, ConfigMapName, types.MergePatchType, content,
		metav1.PatchOptions{FieldManager: owner})
	if apierrors.IsNotFound(err) { // someone deleted the ConfigMap: create it for new exceptions
		err = create(ctx, client, owner, data)
	}
	if err != nil {
		return fmt.Errorf("writing ConfigMap %s: %w; if it is missing, run kubectl tekton-sign enable again",
			ConfigMapName, err)
	}
	return nil
}

func create(ctx context.Context, client Client, owner string, data map[string]any) error {
	made := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: settings.Namespace, Name: ConfigMapName,
			Labels: map[string]string{"app.kubernetes.io/name": "delivery", "app.kubernetes.io/part-of": "tekton-sign"},
		},
		Data: map[string]string{},
	}
	for key, value := range data {
		if text, ok := value.(string); ok {
			made.Data[key] = text
		}
	}
	_, err := client.CoreV1().ConfigMaps(settings.Namespace).Create(ctx, made, metav1.CreateOptions{FieldManager: owner})
	return err
}

// AskForTrials requests new trials in every namespace with an exception. It removes exceptions of refusals and of
// mounts, because only another TaskRun can show whether pods are still refused, or do not start. Namespaces without
// room for a request are tried later, in turn.
func AskForTrials(ctx context.Context, client Client, owner string, now time.Time) error {
	cm, err := client.CoreV1().ConfigMaps(settings.Namespace).Get(ctx, ConfigMapName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading ConfigMap %s: %w", ConfigMapName, err)
	}
	data, asked := map[string]any{}, maps.Clone(cm.Data)
	for _, e := range Parse(cm.Data).Entries() {
		if e.Source == Once {
			data[e.id().key()] = nil
			continue // a trial does not show whether a node mounts a volume
		}
		if e.Source == Refusal || e.Source == Mount {
			data[e.id().key()] = nil
		}
		if key, value := refusedKey(e.Namespace), now.UTC().Format(time.RFC3339); hasRoom(asked, key, value) {
			data[key], asked[key] = value, value
		}
	}
	if len(data) == 0 {
		return nil
	}
	return patch(ctx, client, owner, data)
}
