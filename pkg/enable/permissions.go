// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
)

// CheckPermissions is a Forbidden error that lists the rights that the user lacks to make the changes of the plan.
// Without it, a lack of rights would show only when half of the changes are made.
func (p Plan) CheckPermissions(ctx context.Context, c Clients) error {
	var missing []string
	asked := map[authorizationv1.ResourceAttributes]bool{}
	for _, change := range p.Changes {
		for _, attributes := range neededFor(change) {
			if asked[attributes] {
				continue
			}
			asked[attributes] = true
			review, err := c.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx,
				&authorizationv1.SelfSubjectAccessReview{
					Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes},
				}, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("asking the API server what you may do: %w", err)
			}
			if !review.Status.Allowed {
				missing = append(missing, describePermission(attributes))
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return apierrors.NewForbidden(schema.GroupResource{}, "",
		fmt.Errorf("you may not %s: nothing was changed", strings.Join(missing, ", ")))
}

// neededFor lists the rights that a change needs. A server-side apply that creates an object needs two.
func neededFor(change Change) []authorizationv1.ResourceAttributes {
	resource := object.GVR(change.Object)
	attributes := func(verb string) authorizationv1.ResourceAttributes {
		return authorizationv1.ResourceAttributes{
			Verb: verb, Group: resource.Group, Version: resource.Version, Resource: resource.Resource,
			Namespace: change.Object.GetNamespace(),
		}
	}
	switch {
	case change.Action == Unchanged || change.Action == Keep:
		return nil
	case change.Action == Lift:
		return neededToLift(resource)
	case change.Action == Delete:
		return []authorizationv1.ResourceAttributes{attributes("delete")}
	case change.Object.GetResourceVersion() != "":
		return []authorizationv1.ResourceAttributes{attributes("update")}
	case change.Action == Create:
		return []authorizationv1.ResourceAttributes{attributes("create"), attributes("patch")}
	}
	return []authorizationv1.ResourceAttributes{attributes("patch")}
}

func describePermission(a authorizationv1.ResourceAttributes) string {
	name := a.Resource
	if a.Group != "" {
		name += "." + a.Group
	}
	if a.Namespace != "" {
		return fmt.Sprintf("%s %s in namespace %s", a.Verb, name, a.Namespace)
	}
	return a.Verb + " " + name
}
