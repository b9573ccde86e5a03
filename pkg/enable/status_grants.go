// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// compareGrants looks whether exactly the namespaces in scope have the token grant.
func (l *look) compareGrants(ctx context.Context) {
	if !l.known || !l.listed {
		return // told already
	}
	grants, err := l.grants(ctx)
	if err != nil {
		l.unreadable(status.PartInstallation, status.CheckGrants, "the RoleBindings of all namespaces", err)
		return
	}
	byTokens := backends.Of(l.settings.Backend).Tokens
	var missing, surplus []string
	inScope := 0
	for _, ns := range l.namespaces {
		grant := grants[ns.name]
		wanted := ns.inScope && byTokens
		switch {
		case wanted && grant == nil && !ns.young:
			missing = append(missing, ns.name)
		case !wanted && grant != nil:
			surplus = append(surplus, ns.name)
		case wanted && grant != nil:
			l.compareGrant(ns.name, grant)
		}
		if wanted {
			inScope++
		}
	}
	l.grantChecks(inScope, missing, surplus)
}

func (l *look) grantChecks(inScope int, missing, surplus []string) {
	check := status.Check{
		Part: status.PartInstallation, ID: status.CheckGrants, Status: verify.Fail,
		Next: "kubectl logs -n " + manifests.Namespace + " deployment/" + manifests.Keeper,
	}
	if n := len(missing); n > 0 {
		c := check
		c.Message = fmt.Sprintf("steps cannot sign: %d of %d namespaces in scope lack RoleBinding %s", n, inScope, manifests.TokenRequester)
		c.Expected, c.Got = "the grant in every namespace in scope", "none in "+fewOf(missing)
		c.Next += ": the add-on gives it when it has seen that the policies bite"
		l.add(c)
	}
	if len(surplus) > 0 {
		c := check
		c.Message = fmt.Sprintf("%d namespaces out of scope have RoleBinding %s", len(surplus), manifests.TokenRequester)
		c.Expected, c.Got = "no grant out of scope", "one in "+fewOf(surplus)
		l.add(c)
	}
	if inScope > 0 && len(missing) == 0 && len(surplus) == 0 {
		l.pass(status.PartInstallation, status.CheckGrants, "every namespace in scope (%d) has its grant, and no other has one", inScope)
	}
}

// grants returns the token grants by namespace, whatever their labels.
func (l *look) grants(ctx context.Context) (map[string]*rbacv1.RoleBinding, error) {
	found := map[string]*rbacv1.RoleBinding{}
	options := metav1.ListOptions{
		Limit: listPage, FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, manifests.TokenRequester).String(),
	}
	for {
		page, err := l.Kube.RbacV1().RoleBindings(metav1.NamespaceAll).List(ctx, options)
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

// compareGrant looks whether a grant gives what it should.
func (l *look) compareGrant(namespace string, grant *rbacv1.RoleBinding) {
	fence, err := manifests.FenceVersion()
	if err != nil {
		l.unreadable(status.PartInstallation, status.CheckGrants, "the policies of this plugin", err)
		return
	}
	wanted := manifests.Grant(namespace, fence)
	if manifests.SameGrant(grant, wanted) {
		return
	}
	text := func(b *rbacv1.RoleBinding) string {
		return jsonText(map[string]any{
			"roleRef": b.RoleRef, "subjects": b.Subjects, "labels": b.Labels, manifests.AnnotationFence: b.Annotations[manifests.AnnotationFence],
		})
	}
	l.add(l.ofVersion(status.Check{
		Part: status.PartInstallation, ID: status.CheckGrants, Status: verify.Fail,
		Object:   &status.Object{Group: rbacv1.GroupName, Kind: "RoleBinding", Namespace: namespace, Name: manifests.TokenRequester},
		Expected: text(wanted), Got: text(grant), Message: "was changed",
		Next: "kubectl delete rolebinding -n " + namespace + " " + manifests.TokenRequester + ": the add-on gives it anew",
	}))
}

// leftOver looks for what is in the cluster although signing is off. Webhooks without an add-on, and rights to request tokens, do
// harm there.
func (l *look) leftOver(ctx context.Context) {
	var harmless, harmful []string
	var first *status.Object
	for _, kind := range removalOrder() {
		found, err := l.findOurs(ctx, kind)
		switch {
		case IsForbidden(err):
			l.note(status.PartInstallation, status.CheckLeftOver, "you may not list every %s: none was looked for", kind.Kind)
			continue
		case err != nil:
			l.unreadable(status.PartInstallation, status.CheckLeftOver, "what may be left over", err)
			return
		}
		for _, u := range found {
			switch {
			case kind.Kind == "Namespace" && u.GetName() == manifests.Namespace:
				continue // the trust history may be kept in it
			case l.harmful(u):
				harmful = append(harmful, describe(u))
				if first == nil {
					first = nameOf(u)
				}
			default:
				harmless = append(harmless, describe(u))
			}
		}
	}
	check := status.Check{Part: status.PartInstallation, ID: status.CheckLeftOver, Next: l.options.Program + " disable"}
	if len(harmful) > 0 {
		c := check
		c.Status, c.Object = verify.Fail, first
		c.Message = "signing is off, but this is still in effect: " + fewOf(harmful)
		l.add(c)
	}
	if len(harmless) > 0 {
		c := check
		c.Status, c.Message = verify.Warn, "signing is off, but this is still there: "+fewOf(harmless)
		l.add(c)
	}
	l.keptHistory(ctx)
}

func (l *look) harmful(u *unstructured.Unstructured) bool {
	return isWebhooks(u) && !l.deployment.found || u.GetKind() == "RoleBinding" && u.GetName() == manifests.TokenRequester
}

// keptHistory says that disable has kept the trust history.
func (l *look) keptHistory(ctx context.Context) {
	kept, err := l.history(ctx)
	if err == nil && len(kept) > 0 {
		l.note(status.PartAddOn, status.CheckTrustHistory, "kept: %d ConfigMap(s) in namespace %s", len(kept), manifests.Namespace)
	}
}

// sorted reports checks in the order of their parts, those of a part as they came.
func sorted(checks []status.Check) []status.Check {
	order := status.Parts()
	slices.SortStableFunc(checks, func(a, b status.Check) int {
		return slices.Index(order, a.Part) - slices.Index(order, b.Part)
	})
	return checks
}
