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

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// noteGate says in a plan what the gate does.
const noteGate = "TaskRuns and PipelineRuns are held from Tekton Chains until their results are verified; " +
	"what does not verify is never attested"

// isGateRole reports whether an object is the role of the gate in front of Chains. It has rules while the gate is on, and is
// changed last: as long as it has them, holds may be in the cluster.
func isGateRole(u *unstructured.Unstructured) bool {
	return u.GetKind() == "ClusterRole" && u.GetName() == manifests.ChainsGate
}

// heldKinds are what the gate holds.
func heldKinds() []schema.GroupVersionKind {
	tekton := schema.GroupVersion{Group: "tekton.dev", Version: "v1"}
	return []schema.GroupVersionKind{tekton.WithKind("TaskRun"), tekton.WithKind("PipelineRun")}
}

// liftChanges are the changes that take the gate's holds away.
func liftChanges() []Change {
	var changes []Change
	for _, kind := range heldKinds() {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(kind)
		object.SetName("(all that are held)")
		changes = append(changes, Change{
			Action: Lift, Object: object, Note: "not held from Tekton Chains any more; what was refused stays unattested",
		})
	}
	return changes
}

// planGate says with the role's change that the gate is on, or returns what comes before it when the gate is turned off.
func (c Clients) planGate(ctx context.Context, on bool, change *Change) ([]Change, error) {
	if on {
		change.Note = noteGate
		return nil, nil
	}
	return c.planLift(ctx)
}

// planLift returns liftChanges where the gate is on, or an earlier run was interrupted before it had lifted all holds.
func (c Clients) planLift(ctx context.Context) ([]Change, error) {
	role, err := c.Kube.RbacV1().ClusterRoles().Get(ctx, manifests.ChainsGate, metav1.GetOptions{})
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

// lift takes away all holds of the gate on objects like this one, until a look at all of them finds none: the add-on may not
// know yet that the gate is off.
func (c Clients) lift(ctx context.Context, like *unstructured.Unstructured, dryRun bool) error {
	if dryRun {
		return nil
	}
	for {
		lifted := 0
		options := metav1.ListOptions{Limit: liftPage}
		for {
			page, err := c.Dynamic.Resource(gvrOf(like)).List(ctx, options)
			if apierrors.IsNotFound(err) {
				return nil // Tekton is gone, and with it all that was held
			}
			if err != nil {
				return fmt.Errorf("looking for holds: %w", err)
			}
			for i := range page.Items {
				done, err := c.liftOne(ctx, &page.Items[i])
				if err != nil {
					return err
				}
				if done {
					lifted++
				}
			}
			if options.Continue = page.GetContinue(); options.Continue == "" {
				break
			}
		}
		if lifted == 0 {
			return nil
		}
	}
}

// liftOne reports whether the object had anything of the gate that had to go.
func (c Clients) liftOne(ctx context.Context, u *unstructured.Unstructured) (bool, error) {
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
		_, err := resourceOf(c.Dynamic, u).Patch(ctx, u.GetName(), types.MergePatchType, patch,
			metav1.PatchOptions{FieldManager: FieldManager})
		switch {
		case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err): // changed since: the next look shows how
			return true, nil
		case !refusedBy(err, manifests.ChainsGate): // an API server goes by it for some time after it is gone
			return false, fmt.Errorf("lifting the hold of %s: %w", describe(u), err)
		}
		select {
		case <-ctx.Done():
			return false, errors.Join(fmt.Errorf("gave up lifting the hold of %s: run the command again", describe(u)), err)
		case <-time.After(pollInterval):
		}
	}
}

// neededToLift lists what it takes to lift holds in the whole cluster.
func neededToLift(resource schema.GroupVersionResource) []authorizationv1.ResourceAttributes {
	var all []authorizationv1.ResourceAttributes
	for _, verb := range []string{"list", "patch"} {
		all = append(all, authorizationv1.ResourceAttributes{
			Verb: verb, Group: resource.Group, Version: resource.Version, Resource: resource.Resource,
		})
	}
	return all
}
