// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// CheckPodStatus warns of accounts that can forge receipts, because RBAC lets them write what the kubelet reports.
func CheckPodStatus(ctx context.Context, c *Cluster) []status.Check {
	if !c.Known() || !c.Listed() || !c.receipts() {
		return nil
	}
	w := podStatusWriters{cluster: c, roles: map[string]reach{}, found: map[string]bool{}}
	if err := w.read(ctx); err != nil {
		return one(Unreadable(status.PartCluster, status.CheckPodStatus, "the roles of the cluster and their bindings", err))
	}
	const wanted = "only Kubernetes itself and administrators can write pods/status"
	if len(w.found) == 0 {
		return one(pass(status.PartCluster, status.CheckPodStatus, wanted))
	}
	found := slices.Sorted(maps.Keys(w.found))
	return one(status.Check{
		Part: status.PartCluster, ID: status.CheckPodStatus, Status: verify.Warn,
		Expected: wanted, Got: names.Few(found),
		Message: "these can forge receipts, because they can write what the kubelet reports",
		Next:    "take that permission away, or refuse receipts: " + c.enableCommand() + " --minimum-assurance key-bound",
	})
}

// receipts reports whether receipts count in a namespace in scope.
func (c *Cluster) receipts() bool {
	return backends.Of(c.Settings.Backend).Enabled && slices.ContainsFunc(c.Namespaces.List, func(ns Namespace) bool {
		return ns.InScope && c.Settings.ReceiptsIn(c.Settings.EnforcementOf(ns.Labels))
	})
}

// reach is what a role allows, as far as pods/status is concerned.
type reach int

const (
	nothing reach = iota
	podStatus
	everything // a cluster administrator, who can replace the add-on too
)

// podStatusWriters finds who can write pods/status in the namespaces in scope.
type podStatusWriters struct {
	cluster *Cluster
	roles   map[string]reach // by namespace/name; the namespace of a ClusterRole is empty
	found   map[string]bool
}

func (w podStatusWriters) read(ctx context.Context) error {
	rbac := w.cluster.Clients.Kube.RbacV1()
	err := enable.Each(ctx, rbac.ClusterRoles().List, func(r *rbacv1.ClusterRole) {
		w.roles["/"+r.Name] = reachOf(r.Rules)
	})
	if err != nil {
		return err
	}
	err = enable.Each(ctx, rbac.Roles(metav1.NamespaceAll).List, func(r *rbacv1.Role) {
		w.roles[r.Namespace+"/"+r.Name] = reachOf(r.Rules)
	})
	if err != nil {
		return err
	}
	err = enable.Each(ctx, rbac.ClusterRoleBindings().List, func(b *rbacv1.ClusterRoleBinding) {
		if w.roles["/"+b.RoleRef.Name] == podStatus {
			w.add(b.RoleRef, "", b.Subjects)
		}
	})
	if err != nil {
		return err
	}
	return enable.Each(ctx, rbac.RoleBindings(metav1.NamespaceAll).List, func(b *rbacv1.RoleBinding) {
		role := "/" + b.RoleRef.Name
		if b.RoleRef.Kind == "Role" {
			role = b.Namespace + role
		}
		if w.roles[role] != nothing && w.cluster.InScope(b.Namespace) {
			w.add(b.RoleRef, b.Namespace, b.Subjects)
		}
	})
}

// reachOf returns what rules allow.
func reachOf(rules []rbacv1.PolicyRule) reach {
	most := nothing
	for _, r := range rules {
		all := slices.Contains(r.APIGroups, rbacv1.APIGroupAll) && slices.Contains(r.Resources, rbacv1.ResourceAll) &&
			slices.Contains(r.Verbs, rbacv1.VerbAll)
		switch {
		case all:
			return everything
		case includes(r.APIGroups, "") && includes(r.Resources, "pods/status", "*/status") &&
			includes(r.Verbs, "update", "patch"):
			most = podStatus
		}
	}
	return most
}

// includes reports whether the values of a rule include one of these, or all values.
func includes(values []string, wanted ...string) bool {
	return slices.ContainsFunc(append(wanted, "*"), func(v string) bool { return slices.Contains(values, v) })
}

// add adds the subjects of a binding, except those that are trusted anyway.
func (w podStatusWriters) add(role rbacv1.RoleRef, namespace string, subjects []rbacv1.Subject) {
	for _, s := range subjects {
		account := settings.Account{Namespace: s.Namespace, Name: s.Name}
		if s.Kind == rbacv1.ServiceAccountKind && s.Namespace == "" {
			account.Namespace = namespace
		}
		if w.trusted(role, s, account) {
			continue
		}
		who := strings.ToLower(s.Kind) + " " + s.Name
		if s.Kind == rbacv1.ServiceAccountKind {
			who = account.String()
		}
		if namespace != "" {
			who += " in " + namespace
		}
		w.found[who+" (by "+role.Kind+" "+role.Name+")"] = true
	}
}

// trusted reports whether a subject is a part of Kubernetes with its own role, Tekton's controller or the add-on.
func (w podStatusWriters) trusted(role rbacv1.RoleRef, s rbacv1.Subject, account settings.Account) bool {
	const kubernetes = "system:"
	if s.Kind == rbacv1.ServiceAccountKind {
		tekton := w.cluster.Tekton.Controller
		return account.Namespace == manifests.Namespace ||
			account == settings.Account{Namespace: tekton.Namespace, Name: cmp.Or(tekton.Account, manifests.TektonAccount)} ||
			account.Namespace == metav1.NamespaceSystem && strings.HasPrefix(role.Name, kubernetes)
	}
	own := s.Kind == rbacv1.UserKind && strings.HasPrefix(s.Name, "system:kube-") ||
		s.Kind == rbacv1.GroupKind && s.Name == "system:nodes"
	return own && strings.HasPrefix(role.Name, kubernetes) || s.Kind == rbacv1.GroupKind && s.Name == "system:masters"
}
