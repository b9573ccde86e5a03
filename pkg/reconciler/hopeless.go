// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"strings"
	"sync"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// maxHopeless bounds how many TaskRuns are remembered that cannot be recorded. The oldest are tried once more.
const maxHopeless = 4096

// hopeless are TaskRuns that cannot be recorded, such as those that fill what the API server stores of one object.
type hopeless struct {
	mu    sync.Mutex
	at    map[types.UID]string // the version that could not be recorded
	order []types.UID
}

func newHopeless() *hopeless { return &hopeless{at: map[types.UID]string{}} }

// has reports whether this version of an object is known to be hopeless.
func (h *hopeless) has(o metav1.Object) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	version, ok := h.at[o.GetUID()]
	return ok && version == o.GetResourceVersion()
}

func (h *hopeless) add(o metav1.Object) {
	h.mu.Lock()
	defer h.mu.Unlock()
	uid := o.GetUID()
	if _, known := h.at[uid]; !known {
		h.order = append(h.order, uid)
	}
	h.at[uid] = o.GetResourceVersion()
	if len(h.order) > maxHopeless {
		delete(h.at, h.order[0])
		h.order = h.order[1:]
	}
}

// errHopeless is an error that no repetition mends.
type errHopeless struct{ error }

func (e errHopeless) Unwrap() error { return e.error }

// isHopeless reports whether the write can never succeed: the API server, or its store, takes no object of that size, or refuses
// this one.
func isHopeless(err error) bool {
	var hopeless errHopeless
	if errors.As(err, &hopeless) || apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsInvalid(err) {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "request is too large") || strings.Contains(text, "larger than max")
}

// unless returns err, unless there is no hope: then it is said once, and the TaskRun is left alone.
func (r *Records) unless(ctx context.Context, taskRun *unstructured.Unstructured, err error) error {
	if err == nil || !isHopeless(err) {
		return err
	}
	message := "the record of this TaskRun cannot be made, and will not be tried again: " + err.Error()
	if err := r.events().tell(ctx, taskRun, corev1.EventTypeWarning, ReasonNotRecorded, message); err != nil {
		return err
	}
	r.Log.Warnw("a record was given up", "namespace", taskRun.GetNamespace(), "taskRun", taskRun.GetName(), zap.Error(err))
	if found, err := r.opened(taskRun, stateOf(taskRun)); err == nil {
		r.OnVerdict(counted(found.Result(), stateOf(taskRun)))
	}
	r.OnGivenUp()
	r.hopeless.add(taskRun)
	return nil
}
