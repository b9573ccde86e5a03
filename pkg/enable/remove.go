// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
)

// Remove makes the changes of a plan from PlanDisable, and waits until everything is gone.
func (p Plan) Remove(ctx context.Context, c Clients, timeout time.Duration, progress Progress) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := remover{writer: writer{Clients: c, progress: progress}, plan: p}
	for i, change := range p.Changes {
		if err := r.remove(ctx, change); err != nil {
			return err
		}
		if isDeployment(change) && !slices.ContainsFunc(p.Changes[i+1:], isDeployment) {
			stopped := condition{name: "the add-on has stopped", met: r.podsGone}
			if err := awaitOne(ctx, stopped, progress); err != nil {
				return err
			}
		}
	}
	if p.removesNamespace() {
		gone := condition{name: "namespace " + manifests.Namespace + " is gone", met: r.namespaceGone}
		if err := awaitOne(ctx, gone, progress); err != nil {
			return err
		}
	}
	return awaitOne(ctx, condition{name: "nothing is left", met: r.nothingLeft}, progress)
}

func isDeployment(change Change) bool { return change.Object.GetKind() == "Deployment" }

func (p Plan) removesNamespace() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool {
		return c.Action == Delete && c.Object.GetKind() == "Namespace"
	})
}

// remover makes the changes of a plan to disable. Its methods with three results are conditions to wait for.
type remover struct {
	writer
	plan Plan
}

// remove makes one change. If somebody has changed the settings meanwhile, they are read again: the record in them is
// still valid.
func (r remover) remove(ctx context.Context, change Change) error {
	for {
		err := r.make(ctx, change)
		switch {
		case !object.IsSettings(change.Object), ctx.Err() != nil:
			return err
		case apierrors.IsNotFound(err): // somebody has deleted them
			return nil
		case !apierrors.IsConflict(err):
			return err
		}
		again, err := finder{r.Clients, r.plan.Environment.TektonNamespace}.restore(ctx)
		if err != nil || len(again) == 0 {
			return err
		}
		change = again[0]
	}
}

// podsGone evaluates whether the add-on has stopped: while it runs, it would restore a grant.
func (r remover) podsGone(ctx context.Context) (bool, string, error) {
	pods, err := ownPods(ctx, r.Kube)
	if err != nil {
		return false, "", err
	}
	if len(pods) == 0 {
		return true, "", nil
	}
	return false, fmt.Sprintf("%d pods are terminating", len(pods)), nil
}

func (r remover) namespaceGone(ctx context.Context) (bool, string, error) {
	_, err := r.Kube.CoreV1().Namespaces().Get(ctx, manifests.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, "", nil
	}
	if err != nil {
		return false, "", fmt.Errorf("reading namespace %s: %w", manifests.Namespace, err)
	}
	return false, "it is being deleted", nil
}

// nothingLeft plans again, for objects that the garbage collector has not removed yet, and for objects that were
// created meanwhile, which it removes. It never ends while somebody goes on creating them.
func (r remover) nothingLeft(ctx context.Context) (bool, string, error) {
	again, err := PlanDisable(ctx, r.Clients, r.plan.Environment.TektonNamespace, r.plan.Purge)
	if err != nil || again.Empty() {
		return err == nil, "", err
	}
	left := slices.DeleteFunc(again.Changes, func(change Change) bool { return change.Action == Keep })
	for _, change := range left {
		if change.Object.GetDeletionTimestamp() == nil {
			return false, object.Describe(change.Object) + " was there again", r.remove(ctx, change)
		}
	}
	return false, fmt.Sprintf("%s and %d more are being deleted", object.Describe(left[0].Object), len(left)-1), nil
}
