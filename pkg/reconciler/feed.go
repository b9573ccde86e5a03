// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Defaults of a Feed.
const (
	feedPage   = 250              // objects in one answer
	feedResync = 10 * time.Minute // how often everything is listed again
	feedSteady = time.Minute      // after this time, earlier failures no longer count
)

// Feed passes every object of one resource to a function, and passes it again after every change. It does not keep
// objects, so its memory does not grow with their number. The next listing makes up for missed changes, at the
// latest after feedResync. It does not show a deletion in that time.
type Feed[T runtime.Object] struct {
	source cache.ListerWatcherWithContext
	handle func(watch.EventType, T)
	log    *zap.SugaredLogger

	resync  time.Duration
	backoff wait.Backoff
}

// NewFeed returns a Feed that reads source. One goroutine calls handle, with watch.Added for every listed object.
// handle should only decide whether to put a key into a work queue, and must not keep the object.
func NewFeed[T runtime.Object](
	source cache.ListerWatcherWithContext, handle func(watch.EventType, T), log *zap.SugaredLogger,
) *Feed[T] {
	return &Feed[T]{
		source: source, handle: handle, log: log, resync: feedResync,
		backoff: wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.5, Steps: 6, Cap: time.Minute},
	}
}

// DynamicSource reads a resource as *unstructured.Unstructured.
func DynamicSource(resource dynamic.ResourceInterface) cache.ListerWatcherWithContext {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}
}

// Run feeds until ctx ends.
func (f *Feed[T]) Run(ctx context.Context) {
	backoff := f.backoff
	for ctx.Err() == nil {
		began := time.Now()
		err := f.follow(ctx)
		if time.Since(began) >= feedSteady {
			backoff = f.backoff
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		f.log.Infow("listing again", "type", fmt.Sprintf("%T", *new(T)), zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(backoff.Step()):
		}
	}
}

// follow lists everything once and then watches, until it is time to list again (nil) or the watch cannot go on.
func (f *Feed[T]) follow(ctx context.Context) error {
	resourceVersion, err := f.list(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, resourceVersion, f.watcher(cancel))
	if err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	defer watcher.Stop()
	again := time.NewTimer(wait.Jitter(f.resync, 0.1))
	defer again.Stop()
	for {
		select {
		case <-again.C:
			return nil
		case event, ok := <-watcher.ResultChan():
			if !ok {
				return fmt.Errorf("the watch ended: %w", context.Cause(ctx))
			}
			if event.Type == watch.Error {
				return fmt.Errorf("watching: %w", apierrors.FromObject(event.Object))
			}
			if err := f.show(event.Type, event.Object); err != nil {
				return err
			}
		}
	}
}

// list passes all objects, page by page. It returns where to start watching: the state of the first page, so that no
// change during the listing is missed.
func (f *Feed[T]) list(ctx context.Context) (resourceVersion string, err error) {
	options := metav1.ListOptions{Limit: feedPage}
	for {
		page, err := f.source.ListWithContext(ctx, options)
		if err != nil {
			return "", fmt.Errorf("listing: %w", err)
		}
		head, err := meta.ListAccessor(page)
		if err != nil {
			return "", fmt.Errorf("listing: %w", err)
		}
		if resourceVersion == "" {
			resourceVersion = head.GetResourceVersion()
		}
		err = meta.EachListItem(page, func(obj runtime.Object) error { return f.show(watch.Added, obj) })
		if err != nil {
			return "", err
		}
		if options.Continue = head.GetContinue(); options.Continue == "" {
			return resourceVersion, nil
		}
	}
}

func (f *Feed[T]) show(event watch.EventType, obj runtime.Object) error {
	typed, ok := obj.(T)
	if !ok {
		return fmt.Errorf("expected an object of type %T, got %T", typed, obj)
	}
	f.handle(event, typed)
	return nil
}

// watcher calls end if the state to watch from is gone. RetryWatcher stops if a watch reports that, but repeats a
// request for ever that is answered with it.
func (f *Feed[T]) watcher(end context.CancelCauseFunc) cache.WatcherWithContext {
	return &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := f.source.WatchWithContext(ctx, o)
			if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
				end(err)
			}
			return w, err
		},
	}
}

// errDemoted ends work that only the leader does.
var errDemoted = errors.New("another replica leads")

// Leading runs functions while this replica leads. It has the methods of LeaderAwareFuncs.
type Leading struct {
	mu  sync.Mutex
	end context.CancelCauseFunc
}

// Promote starts run, unless it is running. Its context ends with ctx, or by Demote.
func (l *Leading) Promote(ctx context.Context, run func(context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end != nil {
		return
	}
	ctx, l.end = context.WithCancelCause(ctx)
	go run(ctx)
}

// Demote ends what Promote started.
func (l *Leading) Demote() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end != nil {
		l.end(errDemoted)
		l.end = nil
	}
}
