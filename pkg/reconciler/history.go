// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/controller"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Timing of History.
const (
	// pollInterval with its jitter is below an hour: a key may go on signing for that long after it was last seen.
	pollInterval = 50 * time.Minute
	pollJitter   = 0.1
	pollRetry    = 10 * time.Second // after a failure
	pollPause    = time.Second      // least time between two looks
	// refreshAge is the age at which the stored time of a key's last sighting is written again: replicas share the work.
	refreshAge = 30 * time.Minute
	// retireAge is how long a key must be out of sight before it is stored as retired. While API servers are restarted one
	// by one with another key, they do not agree.
	retireAge = 10 * time.Minute
	// conflictTries bounds the attempts if others write at the same time.
	conflictTries = 8
)

// History keeps the trust history of the cluster: every key that was ever seen at the issuer, in ConfigMaps of the
// add-on's own namespace (trust.History). Nothing is ever removed from them. This replica also keeps what it knows in
// memory, and restores what somebody else removed or changed. All replicas write: each write is based on the
// version that was read.
type History struct {
	client   kubernetes.Interface
	fetch    func(context.Context) (*trust.Cluster, error)
	others   func(*trust.Cluster)
	recorder record.EventRecorder
	log      *zap.SugaredLogger
	now      func() time.Time
	onSync   func(keys int, at time.Time)
	informer cache.SharedIndexInformer
	wake     chan struct{}

	mu     sync.Mutex
	uid    string        // of the cluster; empty until its keys were read
	seen   trust.History // everything that this replica knows
	stored trust.History // what it last found, or put, in the ConfigMaps
	loaded bool          // the ConfigMaps have been read
}

// HistoryConfig is what NewHistory needs.
type HistoryConfig struct {
	Client kubernetes.Interface
	Fetch  func(context.Context) (*trust.Cluster, error) // reads the keys in use now
	// Federated adds keys in use now with which nothing verifies. They name who signed instead. They are never
	// stored: others decide how many there are, and the history could have no room for the cluster's own. May be nil.
	Federated func(*trust.Cluster)
	Recorder  record.EventRecorder
	Log       *zap.SugaredLogger
	Now       func() time.Time
	OnSync    func(keys int, at time.Time) // is told whenever the history is up to date; may be nil
}

// NewHistory returns a History. Run starts it.
func NewHistory(c HistoryConfig) *History {
	h := &History{
		client: c.Client, fetch: c.Fetch, others: c.Federated, recorder: c.Recorder, log: c.Log, now: c.Now, onSync: c.OnSync,
		informer: coreinformers.NewFilteredConfigMapInformer(c.Client, manifests.Namespace, 0, cache.Indexers{},
			func(o *metav1.ListOptions) { o.LabelSelector = manifests.LabelPartOf + "=" + manifests.PartOf }),
		wake: make(chan struct{}, 1),
		seen: trust.History{}, stored: trust.History{},
	}
	mustAdd(h.informer, controller.HandleAll(func(any) { h.poke() }))
	return h
}

// poke makes Run look at the history soon.
func (h *History) poke() {
	select {
	case h.wake <- struct{}{}:
	default: // it is about to be
	}
}

// Run keeps the history until ctx ends: it looks at once, about hourly, after every change of its ConfigMaps, and
// when Cluster has met a new key.
func (h *History) Run(ctx context.Context) {
	go h.informer.RunWithContext(ctx)
	for {
		pause := wait.Jitter(pollInterval, pollJitter)
		if err := h.Sync(ctx); err != nil && ctx.Err() == nil {
			h.log.Errorw("keeping the trust history", zap.Error(err))
			pause = pollRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		case <-h.wake:
		}
		select { // an endless quarrel with another writer stays a slow one
		case <-ctx.Done():
			return
		case <-time.After(pollPause):
		}
	}
}

// Cluster returns the keys with which to verify: those in use now, read from the issuer, and all that the history
// has. If the history cannot be used, the keys in use are enough.
func (h *History) Cluster(ctx context.Context) (*trust.Cluster, error) {
	c, err := h.own(ctx)
	if err == nil && h.others != nil {
		h.others(c)
	}
	return c, err
}

// own returns Cluster without federated keys.
func (h *History) own(ctx context.Context) (*trust.Cluster, error) {
	live, err := h.fetch(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	loaded := h.loaded
	h.mu.Unlock()
	if !loaded {
		if err := h.load(ctx, live.UID); err != nil {
			h.log.Warnw("verifying without the trust history", zap.Error(err))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	err = h.seen.Observe(live, h.now())
	if err == nil {
		if h.missing() {
			h.poke()
		}
		var united *trust.Cluster
		if united, err = h.seen.Cluster(live.Name, live.UID); err == nil {
			return united, nil
		}
	}
	h.log.Errorw("verifying without the trust history", zap.Error(err))
	return live, nil
}

// missing reports whether a key is not in the ConfigMaps yet.
func (h *History) missing() bool {
	for key, sightings := range h.seen {
		for _, s := range sightings {
			if _, ok := h.stored.Find(key, s); !ok {
				return true
			}
		}
	}
	return false
}

// load reads the history once, for the first verification. Sync does the rest.
func (h *History) load(ctx context.Context, uid string) error {
	maps, err := h.list(ctx, uid)
	if err != nil {
		return err
	}
	have := maps.entries()
	repair(nil, have, h.now())
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.loaded {
		h.uid, h.loaded, h.stored = uid, true, have
		h.seen.Merge(have)
	}
	return nil
}

// Sync reads the issuer's keys and brings the ConfigMaps up to date. A failure to read the keys does not keep it
// from putting back what is missing.
func (h *History) Sync(ctx context.Context) error {
	live, liveErr := h.fetch(ctx)
	h.mu.Lock()
	uid := h.uid
	h.mu.Unlock()
	switch {
	case liveErr == nil:
		uid = live.UID
	case uid == "":
		return liveErr
	}
	var err error
	for range conflictTries {
		if err = h.syncOnce(ctx, uid, live); !isConflict(err) {
			break
		}
	}
	return errors.Join(liveErr, err)
}

// isConflict reports whether somebody else wrote first.
func isConflict(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }

// syncOnce compares the ConfigMaps with what this replica knows and writes the difference.
func (h *History) syncOnce(ctx context.Context, uid string, live *trust.Cluster) error {
	maps, err := h.list(ctx, uid)
	if err != nil {
		return err
	}
	have, now := maps.entries(), h.now()
	want, damaged, foreign, err := h.learn(have, live, now)
	if err != nil {
		return err
	}
	if err := errors.Join(maps.stage(have, want, damaged, now), h.write(ctx, maps)); err != nil {
		return err
	}
	h.report(damaged, foreign)
	for _, problem := range maps.problems {
		h.log.Warnw("a part of the trust history is not used", zap.Error(problem))
	}
	stored := maps.entries()
	for key := range stored {
		if _, ok := want[key]; !ok { // refused
			delete(stored, key)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uid, h.loaded, h.stored = uid, true, stored
	if h.onSync != nil && live != nil {
		h.onSync(len(stored), now)
	}
	return nil
}

// learn adds what the ConfigMaps and the issuer have to what this replica knows. It returns everything that is known
// then, the keys of entries that were damaged, which it repairs in have, and the keys that somebody else added.
func (h *History) learn(have trust.History, live *trust.Cluster, now time.Time) (
	want trust.History, damaged, foreign []string, err error,
) {
	h.mu.Lock()
	defer h.mu.Unlock()
	damaged = repair(h.stored, have, now)
	known := h.seen.Clone()
	foreign = h.refuse(have)
	damaged = slices.DeleteFunc(damaged, func(key string) bool { return slices.Contains(foreign, key) })
	h.seen.Merge(have)
	for key, sightings := range have {
		for _, s := range sightings {
			// What was written first stands, also where this replica saw the key a little earlier.
			united, _ := h.seen.Find(key, s)
			united.FirstSeen = s.FirstSeen
			h.seen.Put(key, united)
		}
	}
	if live != nil {
		if err := h.seen.Observe(live, now); err != nil {
			return nil, nil, nil, err
		}
	}
	for key := range have {
		current := slices.ContainsFunc(h.seen[key], func(s trust.Sighting) bool { return s.Current })
		if _, ok := known[key]; !ok && h.loaded && !current {
			foreign = append(foreign, key)
		}
	}
	slices.Sort(foreign)
	return h.seen.Clone(), damaged, foreign, nil
}

// refuse removes from have, and returns, what somebody else added and contradicts what this replica knows, such as
// another key with a known key ID: nobody could verify with both. If somebody deletes it, it is not restored.
func (h *History) refuse(have trust.History) []string {
	var refused []string
	if !h.loaded {
		return nil
	}
	for key, sightings := range have {
		if _, ok := h.seen[key]; ok {
			continue
		}
		both := h.seen.Clone()
		both.Merge(trust.History{key: sightings})
		if _, err := both.Cluster("", h.uid); err != nil {
			refused = append(refused, key)
			delete(have, key)
		}
	}
	return refused
}

// report makes events of the add-on's Deployment about what somebody did to the history.
func (h *History) report(damaged, foreign []string) {
	deployment := ownDeployment(manifests.Controller)
	if len(damaged) > 0 {
		h.log.Errorf("the trust history was changed by somebody else and is repaired: %s", short(damaged))
		h.recorder.Eventf(deployment, corev1.EventTypeWarning, "TrustHistoryRepaired",
			"somebody removed or changed keys of the trust history, they were put back: %s", short(damaged))
	}
	if len(foreign) > 0 {
		h.log.Errorf("somebody else added keys to the trust history that are not in use: %s", short(foreign))
		h.recorder.Eventf(deployment, corev1.EventTypeWarning, "TrustHistoryForeignKey",
			"somebody added keys to the trust history that the issuer does not have: %s; "+
				"if it was not another replica of the add-on, find out who may write ConfigMaps in namespace %s",
			short(foreign), manifests.Namespace)
	}
}

// ownDeployment is the object of events about the add-on: name is manifests.Controller or manifests.Keeper.
func ownDeployment(name string) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: manifests.Namespace, Name: name}
}

// short lists the first few of many keys.
func short(keys []string) string {
	const few = 3
	if len(keys) <= few {
		return fmt.Sprint(keys)
	}
	return fmt.Sprintf("%v and %d more", keys[:few], len(keys)-few)
}
