// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	signingcluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// ReasonNotRegistered is the reason of the events about TaskRuns that could not be registered, so that their
// steps get no identity.
const ReasonNotRegistered = "TaskRunNotRegistered"

// Timing of Entries.
const (
	// entrySpare is added to the longest time that a TaskRun can run.
	entrySpare = time.Hour
	// entryUnlimited is how long an entry lasts if the TaskRun has no timeout. It is extended in time.
	entryUnlimited = 24 * time.Hour
	// entryRenewal is how long before its end an entry is extended.
	entryRenewal = 30 * time.Minute
	// sweepInterval is the time between two sweeps, which remove entries that no event removed.
	sweepInterval = 5 * time.Minute
	sweepRetry    = 20 * time.Second
	// unseenAfter is the time after which a TaskRun that was not seen may be gone: all are listed every feedResync.
	unseenAfter = feedResync * 3 / 2
	// eventPause is the time before the same error is shown again.
	eventPause = 5 * time.Minute
	// entryTimeout bounds one call of the backend.
	entryTimeout = 10 * time.Second
)

// Entries registers TaskRuns with the backend as soon as they appear, and ends the registration when they are
// done. It is shown TaskRuns by Seen and Gone while this replica leads. It keeps in memory which ones it has
// registered: those that have not completed.
type Entries struct {
	pkgreconciler.LeaderAwareFuncs
	EntriesConfig

	taskRuns dynamic.NamespaceableResourceInterface
	queue    keyQueue
	leading  Leading

	mu    sync.Mutex
	known map[types.NamespacedName]registration
	// The last event.
	lastMessage string
	lastEvent   time.Time
}

// registration is a TaskRun that is registered.
type registration struct {
	uid   types.UID
	until time.Time // zero: the backend has not answered yet
	seen  time.Time // last
}

// EntriesConfig is what NewEntries needs.
type EntriesConfig struct {
	Dynamic dynamic.Interface
	// Client returns the client of the backend in force.
	Client func() (signingcluster.ControllerClient, error)
	// Wanted reports whether TaskRuns of a namespace are registered.
	Wanted func(namespace string) bool
	// OnEntry is called after every attempt to register a TaskRun or to end a registration.
	OnEntry  func(error)
	Recorder record.EventRecorder
	Now      func() time.Time
	Log      *zap.SugaredLogger
}

// NewEntries returns the reconciler. Start connects it with a work queue.
func NewEntries(c EntriesConfig) *Entries {
	return &Entries{
		EntriesConfig: c, taskRuns: c.Dynamic.Resource(tektonResource(TaskRuns)),
		known: map[types.NamespacedName]registration{},
	}
}

// Start makes the reconciler put TaskRuns into the work queue, and sweep while this replica leads, until ctx
// ends.
func (e *Entries) Start(ctx context.Context, queue keyQueue) {
	e.queue = queue
	e.PromoteFunc = func(pkgreconciler.Bucket, func(pkgreconciler.Bucket, types.NamespacedName)) error {
		e.forget() // another replica has led; all TaskRuns are seen again
		e.leading.Promote(ctx, e.sweepRegularly)
		return nil
	}
	e.DemoteFunc = func(pkgreconciler.Bucket) { e.leading.Demote() }
}

// Seen puts a TaskRun into the work queue if it must be registered, or its registration must end.
func (e *Entries) Seen(taskRun *unstructured.Unstructured) {
	key := keyOf(taskRun)
	known, ok := e.touch(key, taskRun.GetUID())
	state := stateOf(taskRun)
	switch {
	case ok && known.uid != taskRun.GetUID():
	case state.complete() || state.foreign:
		if !ok {
			return
		}
	case !e.Wanted(key.Namespace) || ok && known.until.Sub(e.Now()) > entryRenewal:
		return
	}
	e.queue.EnqueueKey(key)
}

// Gone puts a TaskRun that was deleted into the work queue.
func (e *Entries) Gone(taskRun *unstructured.Unstructured) {
	if key := keyOf(taskRun); e.has(key) {
		e.queue.EnqueueKey(key)
	}
}

func keyOf(taskRun *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: taskRun.GetNamespace(), Name: taskRun.GetName()}
}

func (e *Entries) find(key types.NamespacedName) (registration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, ok := e.known[key]
	return r, ok
}

// touch is find for a TaskRun that was just seen.
func (e *Entries) touch(key types.NamespacedName, uid types.UID) (registration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, ok := e.known[key]
	if ok && r.uid == uid {
		r.seen = e.Now()
		e.known[key] = r
	}
	return r, ok
}

// all returns what is registered now.
func (e *Entries) all() map[types.NamespacedName]registration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.known)
}

func (e *Entries) has(key types.NamespacedName) bool {
	_, ok := e.find(key)
	return ok
}

func (e *Entries) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.known)
}

// Reconcile implements controller.Reconciler.
func (e *Entries) Reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return controller.NewPermanentError(err)
	}
	id := types.NamespacedName{Namespace: namespace, Name: name}
	if !e.IsLeaderFor(id) {
		return controller.NewSkipKey(key)
	}
	ctx, cancel := context.WithTimeout(ctx, entryTimeout)
	defer cancel()
	tr, err := e.get(ctx, id)
	if err != nil {
		return err
	}
	if known, ok := e.find(id); ok && (tr == nil || tr.UID != known.uid || done(tr)) {
		if err := e.end(ctx, id, known.uid); err != nil {
			return err
		}
	}
	if tr == nil || done(tr) || !e.Wanted(namespace) {
		return nil
	}
	return e.register(ctx, id, tr)
}

// get returns the TaskRun as it is, or nil if there is none.
func (e *Entries) get(ctx context.Context, id types.NamespacedName) (*v1.TaskRun, error) {
	object, err := e.taskRuns.Namespace(id.Namespace).Get(ctx, id.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	tr, err := typed(object)
	if err != nil {
		return nil, controller.NewPermanentError(err)
	}
	return tr, nil
}

// done reports whether no pod of the TaskRun needs an identity any more, as far as Tekton's own controller
// runs it.
func done(tr *v1.TaskRun) bool {
	by := tr.Spec.ManagedBy
	return tr.IsDone() || by != nil && *by != verify.TektonController
}

// register registers a TaskRun for as long as it can run.
func (e *Entries) register(ctx context.Context, id types.NamespacedName, tr *v1.TaskRun) error {
	ttl := lifetimeOf(tr)
	e.know(id, registration{uid: tr.UID}) // its end may be seen before the backend answers
	client, err := e.Client()
	if err == nil {
		err = client.CreateEntries(ctx, tr, nil, ttl)
	}
	e.OnEntry(err)
	if err != nil {
		return e.report(id, err)
	}
	e.know(id, registration{uid: tr.UID, until: e.Now().Add(ttl)})
	return nil
}

func (e *Entries) know(id types.NamespacedName, r registration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r.seen = e.Now()
	e.known[id] = r
}

// lifetimeOf returns how long a TaskRun can run at most from now on, with a spare.
func lifetimeOf(tr *v1.TaskRun) time.Duration {
	limit := entryUnlimited
	if tr.Spec.Timeout != nil && tr.Spec.Timeout.Duration > 0 {
		limit = min(tr.Spec.Timeout.Duration, entryUnlimited)
	}
	return limit + entrySpare
}

// named returns a TaskRun of which only the names are known.
func named(id types.NamespacedName, uid types.UID) *v1.TaskRun {
	return &v1.TaskRun{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, UID: uid}}
}

// end ends the registration of a TaskRun.
func (e *Entries) end(ctx context.Context, id types.NamespacedName, uid types.UID) error {
	client, err := e.Client()
	if err == nil {
		err = client.DeleteEntry(ctx, named(id, uid), nil)
	}
	e.OnEntry(err)
	if err != nil {
		return e.report(id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.known, id)
	return nil
}

// report logs an error and shows it beside the add-on. It returns the error, so that the work is tried again.
func (e *Entries) report(id types.NamespacedName, err error) error {
	e.Log.Warnw("registering a TaskRun", "namespace", id.Namespace, "taskRun", id.Name, zap.Error(err))
	message := display.Cut(display.Safe(err.Error()), maxEventMessage)
	if e.isNews(message) {
		e.Recorder.Event(ownDeployment(manifests.Controller), corev1.EventTypeWarning, ReasonNotRegistered, message)
	}
	return err
}

// isNews reports whether the last event had another message, or is old. Kubernetes drops events that come too
// often, and then the one that names another reason is lost.
func (e *Entries) isNews(message string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if message == e.lastMessage && e.Now().Sub(e.lastEvent) < eventPause {
		return false
	}
	e.lastMessage, e.lastEvent = message, e.Now()
	return true
}

// sweepRegularly sweeps until ctx ends. A replica that has just started has no identity yet, so it tries again soon.
func (e *Entries) sweepRegularly(ctx context.Context) {
	repeat(ctx, func(ctx context.Context) error {
		err := e.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			e.Log.Warnw("removing the registrations of TaskRuns that are done", zap.Error(err))
		}
		return err
	}, sweepInterval, sweepRetry)
}

// Sweep ends the registrations of TaskRuns that are done or gone, which this replica has not noticed because
// it did not lead, had ended, or did not watch at that moment. It registers those again whose registration someone
// else has ended.
func (e *Entries) Sweep(ctx context.Context) error {
	client, err := e.Client()
	if err != nil {
		return err
	}
	again := e.all()
	var unknown []signingcluster.Registered
	err = client.ListEntries(ctx, func(r signingcluster.Registered) {
		id := types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
		if known, ok := e.find(id); !ok || known.uid != r.UID {
			unknown = append(unknown, r)
			return
		} else if e.Now().Sub(known.seen) < unseenAfter {
			delete(again, id)
		}
	})
	if err != nil {
		return err
	}
	for id := range again {
		e.queue.EnqueueKey(id)
	}
	var errs []error
	for _, r := range unknown {
		errs = append(errs, e.sweep(ctx, client, r))
	}
	return errors.Join(errs...)
}

func (e *Entries) sweep(ctx context.Context, client signingcluster.ControllerClient,
	r signingcluster.Registered) error {
	ctx, cancel := context.WithTimeout(ctx, entryTimeout)
	defer cancel()
	id := types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
	tr, err := e.get(ctx, id)
	if err != nil {
		return fmt.Errorf("TaskRun %s: %w", id, err)
	}
	if tr != nil && tr.UID == r.UID && !done(tr) {
		return nil
	}
	err = client.DeleteEntry(ctx, named(id, r.UID), nil)
	e.OnEntry(err)
	return err
}
