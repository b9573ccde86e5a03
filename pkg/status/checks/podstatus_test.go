// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// role adds a ClusterRole with one rule in the core group.
func (in *installed) role(name, resource string, verbs ...string) {
	in.add(&rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{resource}, Verbs: verbs}},
	})
}

// bind binds a ClusterRole to a subject, in a namespace or in all.
func (in *installed) bind(role, namespace string, subject rbacv1.Subject) {
	ref, subjects := rbacv1.RoleRef{Kind: "ClusterRole", Name: role}, []rbacv1.Subject{subject}
	name := metav1.ObjectMeta{Namespace: namespace, Name: "test-" + role + "-" + subject.Name}
	if namespace == "" {
		in.add(&rbacv1.ClusterRoleBinding{ObjectMeta: name, RoleRef: ref, Subjects: subjects})
		return
	}
	in.add(&rbacv1.RoleBinding{ObjectMeta: name, RoleRef: ref, Subjects: subjects})
}

func TestPodStatus(t *testing.T) {
	user := rbacv1.Subject{Kind: "User", Name: "jane"}
	account := func(namespace string) rbacv1.Subject {
		return rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: "agent"}
	}
	grant := func(resource, verb, namespace string, subject rbacv1.Subject) edit {
		return func(in *installed) { in.role("reporter", resource, verb); in.bind("reporter", namespace, subject) }
	}
	const warned = "warn pod-status: these can forge receipts"
	testAmiss(t, CheckPodStatus, map[string]amissCase{
		"everywhere": {
			grant("pods/status", "patch", "", user), status.Warnings, []string{warned, "user jane (by ClusterRole reporter)"},
		},
		"an account in a namespace in scope": {
			grant("pods/status", "update", "ci", account("tools")), status.Warnings, []string{warned, "tools/agent in ci"},
		},
		"an account in kube-system by a role of its own": {
			grant("pods/status", "patch", "", account("kube-system")), status.Warnings, []string{warned, "kube-system/agent"},
		},
		"every status": {grant("*/status", "*", "", user), status.Warnings, []string{warned}},
		"everything":   {grant("*", "update", "", user), status.Warnings, []string{warned}},
		"the role of the kubelet": {func(in *installed) {
			in.role("system:node", "pods/status", "patch")
			in.bind("system:node", "", user)
		}, status.Warnings, []string{warned, "user jane (by ClusterRole system:node)"}},
	})
	tekton := rbacv1.Subject{Kind: "ServiceAccount", Namespace: tektonNamespace, Name: "the-controller"}
	for name, change := range map[string]edit{
		"out of scope": grant("pods/status", "patch", "other", user),
		"reads only":   grant("pods/status", "get", "", user),
		"the pods":     grant("pods", "update", "", user),
		"the kubelets": func(in *installed) {
			in.role("system:node", "pods/status", "patch")
			in.bind("system:node", "", nodes())
		},
		"Tekton": grant("pods/status", "patch", "", tekton),
		"a controller": func(in *installed) {
			in.role("system:gc", "*", "patch")
			in.bind("system:gc", "", account("kube-system"))
		},
		"administrators":   func(in *installed) { in.admin(); in.bind("admin-of-all", "", user) },
		"an empty subject": grant("pods/status", "patch", "", rbacv1.Subject{Kind: "Group", Name: "system:masters"}),
	} {
		in := newInstalled(t, nil)
		change(in)
		if got := CheckPodStatus(t.Context(), in.read()); len(got) != 1 || got[0].Status != verify.Pass {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func nodes() rbacv1.Subject { return rbacv1.Subject{Kind: "Group", Name: "system:nodes"} }

// admin adds the role of a cluster administrator.
func (in *installed) admin() {
	in.add(&rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "admin-of-all"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}},
	})
}

// Where no receipt counts, nobody is warned; an administrator of one namespace is no administrator of the cluster.
func TestPodStatusWhereReceiptsCount(t *testing.T) {
	user := rbacv1.Subject{Kind: "User", Name: "jane"}
	for name, tc := range map[string]struct {
		receipts settings.Receipts
		want     int
	}{"never": {settings.ReceiptsNever, 0}, "fallback": {settings.ReceiptsFallback, 1}} {
		in := newInstalled(t, func(s *settings.Settings) { s.Receipts = tc.receipts })
		in.admin()
		in.bind("admin-of-all", "ci", user)
		got := CheckPodStatus(t.Context(), in.read())
		if len(got) != tc.want || tc.want > 0 && got[0].Status != verify.Warn {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
