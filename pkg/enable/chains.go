// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"errors"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
)

// noteGate explains in a plan what the gate does.
const noteGate = "TaskRuns and PipelineRuns are held from Tekton Chains until their results are verified; " +
	"what does not verify is never attested"

// isGateRole reports whether an object is the ClusterRole of the gate in front of Chains. The role has rules while
// the gate is on, and is changed last: as long as it has rules, holds may be in the cluster.
func isGateRole(u *unstructured.Unstructured) bool {
	return u.GetKind() == "ClusterRole" && u.GetName() == manifests.ChainsGate
}

// heldKinds are the kinds that the gate holds.
func heldKinds() []schema.GroupVersionKind {
	tekton := schema.GroupVersion{Group: "tekton.dev", Version: "v1"}
	return []schema.GroupVersionKind{tekton.WithKind("TaskRun"), tekton.WithKind("PipelineRun")}
}

// liftChanges are the changes that remove the gate's holds.
func liftChanges() []Change {
	var changes []Change
	for _, kind := range heldKinds() {
		changes = append(changes, Change{
			Action: Lift, Object: object.Named(kind, "", "(all that are held)"),
			Note: "not held from Tekton Chains any more; what was refused stays unattested",
		})
	}
	return changes
}

// planGate adds to the change of the role that the gate is on, or returns the changes that come before it when the
// gate is turned off.
func planGate(ctx context.Context, client kubeclient.Interface, on bool, change *Change) ([]Change, error) {
	if on {
		change.Note = noteGate
		return nil, nil
	}
	return planLift(ctx, client)
}

// planLift returns liftChanges if the gate is on, or if an earlier run was interrupted before it had lifted all holds.
func planLift(ctx context.Context, client kubeclient.Interface) ([]Change, error) {
	role, err := client.RbacV1().ClusterRoles().Get(ctx, manifests.ChainsGate, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading ClusterRole %s: %w", manifests.ChainsGate, err)
	case len(role.Rules) == 0:
		return nil, nil
	}
	return liftChanges(), nil
}

// liftPage bounds one answer.
const liftPage = 250

// lift removes all holds of the gate on objects like this one. It reads all objects until it finds no hold: the
// add-on may not know yet that the gate is off.
func (w writer) lift(ctx context.Context, like *unstructured.Unstructured) error {
	if w.dryRun {
		return nil
	}
	for {
		lifted, err := w.liftAll(ctx, like)
		if err != nil || lifted == 0 {
			return err
		}
	}
}

// liftAll reads all objects once, and returns how many it has changed.
func (w writer) liftAll(ctx context.Context, like *unstructured.Unstructured) (lifted int, err error) {
	options := metav1.ListOptions{Limit: liftPage}
	for {
		page, err := w.Dynamic.Resource(object.GVR(like)).List(ctx, options)
		if apierrors.IsNotFound(err) {
			return 0, nil // Tekton is gone, and all that was held is gone with it
		}
		if err != nil {
			return 0, fmt.Errorf("looking for holds: %w", err)
		}
		for i := range page.Items {
			done, err := w.liftOne(ctx, &page.Items[i])
			if err != nil {
				return 0, err
			}
			if done {
				lifted++
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return lifted, nil
		}
	}
}

// liftOne removes the hold on an object, and reports whether there was one.
func (w writer) liftOne(ctx context.Context, u *unstructured.Unstructured) (bool, error) {
	run := chains.Read(u)
	decision := chains.Decide(run, false, time.Now())
	if decision.Action == chains.Nothing {
		return false, nil
	}
	patch, err := decision.Change(run).MergePatch(run)
	if err != nil {
		return false, err
	}
	for {
		_, err := object.Client(w.Dynamic, u).Patch(ctx, u.GetName(), types.MergePatchType, patch,
			metav1.PatchOptions{FieldManager: FieldManager})
		switch {
		case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err): // changed since: it is read again
			return true, nil
		case !refusedBy(err, manifests.ChainsGate): // an API server uses the policy for a short time after it is gone
			return false, fmt.Errorf("lifting the hold of %s: %w", object.Describe(u), err)
		}
		select {
		case <-ctx.Done():
			gaveUp := fmt.Errorf("gave up lifting the hold of %s: run the command again", object.Describe(u))
			return false, errors.Join(gaveUp, err)
		case <-time.After(pollInterval):
		}
	}
}

// neededToLift lists the rights that are needed to lift holds in the whole cluster.
func neededToLift(resource schema.GroupVersionResource) []authorizationv1.ResourceAttributes {
	var all []authorizationv1.ResourceAttributes
	for _, verb := range []string{"list", "patch"} {
		all = append(all, authorizationv1.ResourceAttributes{
			Verb: verb, Group: resource.Group, Version: resource.Version, Resource: resource.Resource,
		})
	}
	return all
}
