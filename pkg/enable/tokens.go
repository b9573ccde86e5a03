// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// lostRights are the rights to request tokens that the policies take from accounts that have them by RBAC.
type lostRights struct {
	all   []string // any token but a signing token, for accounts of their own namespace (P2)
	bound []string // tokens that are bound to a pod, for accounts of other namespaces (P8)
}

// warnings lists which accounts lose which right, and how they can keep it.
func (l lostRights) warnings() []string {
	var warnings []string
	if len(l.all) > 0 {
		warnings = append(warnings, fmt.Sprintf("these accounts may request tokens for the service accounts "+
			"of their namespace, and will get signing tokens only, because results are signed there: %s. "+
			"Keep the right of one with --exempt-service-account NAMESPACE/NAME", names.First(l.all, maxAccounts)))
	}
	if len(l.bound) > 0 {
		warnings = append(warnings, fmt.Sprintf("these accounts may request tokens in namespaces in scope, "+
			"and will get none that are bound to a pod, as Vault's CSI provider asks for: %s. "+
			"Keep the right of one with --exempt-service-account NAMESPACE/NAME", names.First(l.bound, maxAccounts)))
	}
	return warnings
}

// maxAccounts is how many accounts one warning names.
const maxAccounts = 100

// tokenWarnings lists the accounts from which the plan takes the right to request tokens.
func (w warner) tokenWarnings(ctx context.Context) ([]string, error) {
	lost, err := w.tokenRights(ctx)
	if IsForbidden(err) {
		return []string{fmt.Sprintf("service accounts of the namespaces in scope will get signing tokens only, "+
			"whatever RBAC allows them. Which of them may request others was not looked at: %v. "+
			"Keep the right of one with --exempt-service-account NAMESPACE/NAME", err)}, nil
	}
	if err != nil {
		return nil, err
	}
	return lost.warnings(), nil
}

// tokenRights finds the rights that accounts have under the settings of the cluster, and lose by the plan.
func (w warner) tokenRights(ctx context.Context) (lostRights, error) {
	r := newRightsReader(w.plan.Settings, w.before)
	reserved := settings.Reserved(w.plan.Environment.TektonNamespace)
	if err := r.readNamespaces(ctx, w.Kube, reserved); err != nil {
		return lostRights{}, err
	}
	if err := r.readRoles(ctx, w.Kube); err != nil {
		return lostRights{}, err
	}
	if err := r.readBindings(ctx, w.Kube); err != nil {
		return lostRights{}, err
	}
	return lostRights{all: slices.Sorted(maps.Keys(r.all)), bound: slices.Sorted(maps.Keys(r.bound))}, nil
}

// confinement is where the policies apply, and to which accounts they do not.
type confinement struct {
	settings settings.Settings
	inScope  map[string]bool
	exempt   map[settings.Account]bool
}

func confinementOf(s settings.Settings) confinement {
	exempt := map[settings.Account]bool{}
	for _, account := range s.Exempt {
		exempt[account] = true
	}
	return confinement{settings: s, inScope: map[string]bool{}, exempt: exempt}
}

// confines reports whether the policies keep an account from getting tokens in the namespace.
func (c confinement) confines(account settings.Account, namespace string) bool {
	return c.inScope[namespace] && !c.exempt[account]
}

// rightsReader compares the rights that RBAC grants with those that the policies leave, before and after.
type rightsReader struct {
	confinement, before confinement
	clusterRoles        map[string]bool // whether they allow requesting tokens
	roles               map[string]bool // namespace/name
	all, bound          map[string]bool
}

func newRightsReader(after, before settings.Settings) *rightsReader {
	return &rightsReader{
		confinement: confinementOf(after), before: confinementOf(before),
		clusterRoles: map[string]bool{}, roles: map[string]bool{}, all: map[string]bool{}, bound: map[string]bool{},
	}
}

func (r *rightsReader) readNamespaces(ctx context.Context, client kubeclient.Interface, reserved []string) error {
	return Each(ctx, client.CoreV1().Namespaces().List, func(ns *corev1.Namespace) {
		for _, confined := range []confinement{r.confinement, r.before} {
			s := confined.settings
			confined.inScope[ns.Name] = backends.Of(s.Backend).Tokens && s.Scope.Matcher(reserved)(ns.Labels)
		}
	})
}

// Each reads a list page by page, and calls do for every object.
func Each[T any, L runtime.Object](
	ctx context.Context, list func(context.Context, metav1.ListOptions) (L, error), do func(T),
) error {
	read := func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return list(ctx, o) }
	return pager.New(read).EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		item, ok := object.(T)
		if !ok {
			return fmt.Errorf("a list holds a %T", object)
		}
		do(item)
		return nil
	})
}

// requestsTokens reports whether rules allow requesting tokens, at least for one account.
func requestsTokens(rules []rbacv1.PolicyRule) bool {
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return has(r.APIGroups, "") && has(r.Verbs, "create") &&
			(has(r.Resources, "serviceaccounts/token") || slices.Contains(r.Resources, "*/token"))
	})
}

func has(values []string, value string) bool {
	return slices.Contains(values, value) || slices.Contains(values, rbacv1.ResourceAll)
}

func (r *rightsReader) readRoles(ctx context.Context, client kubeclient.Interface) error {
	rbac := client.RbacV1()
	err := Each(ctx, rbac.ClusterRoles().List, func(role *rbacv1.ClusterRole) {
		r.clusterRoles[role.Name] = role.Name != manifests.TokenRequester && requestsTokens(role.Rules)
	})
	if err != nil {
		return err
	}
	return Each(ctx, rbac.Roles(metav1.NamespaceAll).List, func(role *rbacv1.Role) {
		r.roles[role.Namespace+"/"+role.Name] = requestsTokens(role.Rules)
	})
}

func (r *rightsReader) readBindings(ctx context.Context, client kubeclient.Interface) error {
	rbac := client.RbacV1()
	err := Each(ctx, rbac.RoleBindings(metav1.NamespaceAll).List, func(b *rbacv1.RoleBinding) {
		if r.grants(b.RoleRef, b.Namespace) {
			r.add(b.Subjects, b.Namespace)
		}
	})
	if err != nil {
		return err
	}
	return Each(ctx, rbac.ClusterRoleBindings().List, func(b *rbacv1.ClusterRoleBinding) {
		if r.grants(b.RoleRef, metav1.NamespaceAll) {
			r.add(b.Subjects, metav1.NamespaceAll)
		}
	})
}

// grants reports whether the role of a binding allows requesting tokens.
func (r *rightsReader) grants(role rbacv1.RoleRef, namespace string) bool {
	if role.Kind == "ClusterRole" {
		return r.clusterRoles[role.Name]
	}
	return r.roles[namespace+"/"+role.Name]
}

// add records what the subjects of a binding lose in its namespace, or in all namespaces.
func (r *rightsReader) add(subjects []rbacv1.Subject, namespace string) {
	for _, subject := range subjects {
		account, group := accountOf(subject, namespace)
		switch {
		case account.Namespace == manifests.Namespace: // the add-on's own
		case group && account.Namespace == "":
			r.everyAccount(subject.Name, namespace)
		case account.Namespace != "":
			r.account(account, subjectText(subject, account, group), namespace)
		}
	}
}

// account records what one account, or each account of a namespace, loses.
func (r *rightsReader) account(account settings.Account, text, namespace string) {
	own := account.Namespace
	lost := func(ns string) bool {
		return r.confinement.confines(account, ns) && !r.before.confines(account, ns)
	}
	if (namespace == own || namespace == metav1.NamespaceAll) && lost(own) {
		r.all[text] = true
	}
	for ns := range r.confinement.inScope {
		if ns != own && (namespace == ns || namespace == metav1.NamespaceAll) && lost(ns) {
			r.bound[text] = true
		}
	}
}

// everyAccount records what a group of the service accounts of all namespaces loses.
func (r *rightsReader) everyAccount(group, namespace string) {
	for ns, inScope := range r.confinement.inScope {
		if (namespace == ns || namespace == metav1.NamespaceAll) && inScope && !r.before.inScope[ns] {
			r.all["every service account (group "+group+")"] = true
		}
	}
}

func subjectText(subject rbacv1.Subject, account settings.Account, group bool) string {
	if group {
		return "every service account of namespace " + account.Namespace + " (group " + subject.Name + ")"
	}
	return account.String()
}

// The user names and groups of service accounts.
const (
	accountPrefix = "system:serviceaccount:"
	accountsOf    = "system:serviceaccounts:" // followed by a namespace
)

// allAccounts are the groups to which every service account belongs.
func allAccounts() []string { return []string{"system:serviceaccounts", "system:authenticated"} }

// accountOf returns the service account of a subject, in each of the forms that RBAC knows. The account of a group
// has no name if the group is all accounts of a namespace, and no namespace either if it is all accounts of the
// cluster.
func accountOf(subject rbacv1.Subject, bindingNamespace string) (account settings.Account, group bool) {
	switch subject.Kind {
	case rbacv1.ServiceAccountKind:
		namespace := subject.Namespace
		if namespace == "" {
			namespace = bindingNamespace
		}
		return settings.Account{Namespace: namespace, Name: subject.Name}, false
	case rbacv1.UserKind:
		if rest, ok := strings.CutPrefix(subject.Name, accountPrefix); ok {
			namespace, name, _ := strings.Cut(rest, ":")
			return settings.Account{Namespace: namespace, Name: name}, false
		}
	case rbacv1.GroupKind:
		if namespace, ok := strings.CutPrefix(subject.Name, accountsOf); ok {
			return settings.Account{Namespace: namespace}, true
		}
		return settings.Account{}, slices.Contains(allAccounts(), subject.Name)
	}
	return settings.Account{}, false
}
