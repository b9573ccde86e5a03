// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/objectsize"
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

// add remembers this version of an object, and reports whether none of it was known.
func (h *hopeless) add(o metav1.Object) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	uid := o.GetUID()
	_, known := h.at[uid]
	if !known {
		h.order = append(h.order, uid)
	}
	h.at[uid] = o.GetResourceVersion()
	if len(h.order) > maxHopeless {
		delete(h.at, h.order[0])
		h.order = h.order[1:]
	}
	return !known
}

// errHopeless is an error that no repetition mends.
type errHopeless struct{ error }

func (e errHopeless) Unwrap() error { return e.error }

// isHopeless reports whether a write to an object of that size can never succeed: the API server, its store or
// Tekton's webhook takes no object so large, or refuses this one.
func isHopeless(err error, size int) bool {
	var hopeless errHopeless
	if errors.As(err, &hopeless) || apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsInvalid(err) {
		return true
	}
	text := err.Error()
	if strings.Contains(text, "request is too large") || strings.Contains(text, "larger than max") {
		return true
	}
	return objectsize.Unreviewable(size) && isOfAnotherWebhook(err)
}

// isOfAnotherWebhook reports whether the API server got no answer from a webhook that is not the add-on's. Such a
// webhook gets the object twice, and Tekton's has no words for one that is too large: only the size sets that apart
// from one that is away.
func isOfAnotherWebhook(err error) bool {
	text := err.Error()
	return apierrors.IsInternalError(err) && strings.Contains(text, "failed calling webhook") &&
		!strings.Contains(text, ".tekton-sign.dev")
}

// unless returns err, unless there is no hope: then it is said once, and the TaskRun is left alone.
func (r *Records) unless(ctx context.Context, taskRun *unstructured.Unstructured, err error) error {
	if err == nil {
		return nil
	}
	size := sizeOf(taskRun)
	if !isHopeless(err, size) {
		return err
	}
	message := fmt.Sprintf("the verdict or the record of this TaskRun cannot be stored, and will not be tried again: "+
		"the TaskRun takes %d bytes: %v",
		size, err)
	if err := r.events().tellOnce(ctx, taskRun, corev1.EventTypeWarning, ReasonNotRecorded, message); err != nil {
		return err
	}
	r.Log.Infow("a record was given up", "namespace", taskRun.GetNamespace(), "taskRun", taskRun.GetName(), "bytes", size,
		zap.Error(err))
	if !r.hopeless.add(taskRun) {
		return nil // counted before
	}
	if found, err := r.opened(taskRun, stateOf(taskRun)); err == nil {
		r.OnVerdict(counted(found.Result(), stateOf(taskRun)))
	}
	r.OnGivenUp()
	return nil
}

// sizeOf returns how large a TaskRun is as JSON, in bytes.
func sizeOf(taskRun *unstructured.Unstructured) int {
	raw, err := taskRun.MarshalJSON()
	if err != nil {
		return 0
	}
	return len(raw)
}
