// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"sync"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"
)

// reasonPodAdmissionFailed is why a TaskRun has failed whose pod the Pod Security admission refused (Tekton Pipelines, pkg/pod).
const reasonPodAdmissionFailed = "PodAdmissionFailed"

// refusalInterval is how often a namespace asks for a trial at most: TaskRuns may be refused for other reasons, one after the other.
const refusalInterval = 30 * time.Second

// Refusals asks for a trial of each namespace in which a pod was refused: the keeper makes it, who does not follow TaskRuns. Its keys
// are names of namespaces.
type Refusals struct {
	pkgreconciler.LeaderAwareFuncs

	ask func(ctx context.Context, namespace string, refused time.Time) error
	now func() time.Time

	mu    sync.Mutex
	asked map[string]time.Time
}

// NewRefusals returns the reconciler. ask asks for a trial.
func NewRefusals(ask func(ctx context.Context, namespace string, refused time.Time) error, now func() time.Time) *Refusals {
	return &Refusals{ask: ask, now: now, asked: map[string]time.Time{}}
}

// Reconcile implements controller.Reconciler.
func (r *Refusals) Reconcile(ctx context.Context, key string) error {
	_, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return controller.NewPermanentError(err)
	}
	if !r.IsLeaderFor(types.NamespacedName{Name: name}) {
		return controller.NewSkipKey(key)
	}
	now := r.now()
	if wait := r.wait(name, now); wait > 0 {
		return controller.NewRequeueAfter(wait)
	}
	if err := r.ask(ctx, name, now); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[name] = now
	return nil
}

// wait returns how long the namespace must not ask again. It forgets those that may.
func (r *Refusals) wait(name string, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, at := range r.asked {
		if now.Sub(at) >= refusalInterval {
			delete(r.asked, other)
		}
	}
	if at, ok := r.asked[name]; ok {
		return refusalInterval - now.Sub(at)
	}
	return 0
}

// podRefused reports whether a TaskRun has failed because its pod was not created.
func (s taskRunState) podRefused() bool {
	return s.succeeded.status == string(corev1.ConditionFalse) && !s.hasPod &&
		(s.succeeded.reason == v1.TaskRunReasonPodCreationFailed.String() || s.succeeded.reason == reasonPodAdmissionFailed)
}
