// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// checkGrants checks that the namespaces in scope have their grant, and no others.
func checkGrants(ctx context.Context, c *Cluster) []status.Check {
	if !c.Known() || !c.Listed() {
		return nil // other checks report it
	}
	grants, err := c.grants(ctx)
	if err != nil {
		return one(Unreadable(status.PartInstallation, status.CheckGrants, "the RoleBindings of all namespaces", err))
	}
	on := backends.Of(c.Settings.Backend).Enabled
	var checks []status.Check
	var g granted
	for _, ns := range c.Namespaces.List {
		wanted, grant := ns.InScope && on, grants[ns.Name]
		if wanted {
			g.inScope++
		}
		switch {
		case wanted && grant == nil && !ns.Young:
			g.missing = append(g.missing, ns.Name)
		case !wanted && grant != nil:
			g.surplus = append(g.surplus, ns.Name)
		case wanted && grant != nil:
			checks = append(checks, checkGrant(c, ns.Name, grant)...)
		}
	}
	return append(checks, g.report()...)
}

// granted is where the grant is, and where it should be.
type granted struct {
	inScope int
	missing []string // namespaces in scope without it
	surplus []string // namespaces out of scope with it
}

func (g granted) report() []status.Check {
	check := status.Check{
		Part: status.PartInstallation, ID: status.CheckGrants, Status: verify.Fail,
		Next: "kubectl logs -n " + manifests.Namespace + " deployment/" + manifests.Keeper,
	}
	var checks []status.Check
	if n := len(g.missing); n > 0 {
		lacking := check
		lacking.Message = fmt.Sprintf("TaskRuns cannot be verified: %d of %d namespaces in scope lack RoleBinding %s",
			n, g.inScope, manifests.TokenRequester)
		lacking.Expected, lacking.Got = "the grant in every namespace in scope", "none in "+names.Few(g.missing)
		lacking.Next += ": the add-on gives it when it has seen that the policies bite"
		checks = append(checks, lacking)
	}
	if n := len(g.surplus); n > 0 {
		check.Message = fmt.Sprintf("%d namespaces out of scope have RoleBinding %s", n, manifests.TokenRequester)
		check.Expected, check.Got = "no grant out of scope", "one in "+names.Few(g.surplus)
		checks = append(checks, check)
	}
	if g.inScope > 0 && len(checks) == 0 {
		return one(pass(status.PartInstallation, status.CheckGrants,
			"every namespace in scope (%d) has its grant, and no other has one", g.inScope))
	}
	return checks
}

// grants returns the grants by namespace, whatever their labels.
func (c *Cluster) grants(ctx context.Context) (map[string]*rbacv1.RoleBinding, error) {
	found := map[string]*rbacv1.RoleBinding{}
	named := fields.OneTermEqualSelector(metav1.ObjectNameField, manifests.TokenRequester)
	options := metav1.ListOptions{Limit: listPage, FieldSelector: named.String()}
	for {
		page, err := c.Clients.Kube.RbacV1().RoleBindings(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			if b := &page.Items[i]; b.Name == manifests.TokenRequester && b.DeletionTimestamp == nil {
				found[b.Namespace] = b
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return found, nil
		}
	}
}

// checkGrant checks that a grant gives what it should, no less and no more.
func checkGrant(c *Cluster, namespace string, grant *rbacv1.RoleBinding) []status.Check {
	fence, err := manifests.FenceVersion()
	if err != nil {
		return one(Unreadable(status.PartInstallation, status.CheckGrants, "the policies of this plugin", err))
	}
	wanted := manifests.GrantInstead(grant, c.Settings.Backend, namespace, fence)
	if manifests.SameGrant(grant, wanted) {
		return nil
	}
	return one(c.forVersion(status.Check{
		Part: status.PartInstallation, ID: status.CheckGrants, Status: verify.Fail,
		Object: &status.Object{
			Group: rbacv1.GroupName, Kind: "RoleBinding", Namespace: namespace, Name: manifests.TokenRequester,
		},
		Expected: grantText(wanted), Got: grantText(grant), Message: "was changed",
		Next: "kubectl delete rolebinding -n " + namespace + " " + manifests.TokenRequester + ": the add-on gives it anew",
	}))
}

func grantText(b *rbacv1.RoleBinding) string {
	return jsonText(map[string]any{
		"roleRef": b.RoleRef, "subjects": b.Subjects, "labels": b.Labels,
		manifests.AnnotationFence: b.Annotations[manifests.AnnotationFence],
	})
}
