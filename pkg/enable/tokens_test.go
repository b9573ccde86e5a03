// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// allows returns a rule on tokens of service accounts.
func allows(group, resource, verb string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}
}

func tokenRule() rbacv1.PolicyRule { return allows("", "serviceaccounts/token", "create") }

// bound returns a Role in a namespace, or a ClusterRole if that is empty, and the binding of the subjects to it.
func bound(namespace string, rule rbacv1.PolicyRule, subjects ...rbacv1.Subject) []runtime.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "op"}
	if namespace == "" {
		return []runtime.Object{
			&rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}},
			&rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects,
				RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "op"}},
		}
	}
	return []runtime.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}},
		&rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "op"}},
	}
}

func account(namespace, name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: name}
}

func named(kind, name string) rbacv1.Subject { return rbacv1.Subject{Kind: kind, Name: name} }

// Every account that loses a right is listed, in whatever form RBAC grants the right, and no other account.
func TestTokenRights(t *testing.T) {
	grantRole := []runtime.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: manifests.TokenRequester},
			Rules: []rbacv1.PolicyRule{tokenRule()}}, enabletest.Grant("ci"),
	}
	inNamespace := []runtime.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "edit"}, Rules: []rbacv1.PolicyRule{tokenRule()}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "b"},
			Subjects:   []rbacv1.Subject{account("", "here"), account("else", "there")},
			RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", Name: "edit"},
		},
	}
	only := settings.Scope{Names: []string{"ci"}}
	type lost = lostRights
	for name, tc := range map[string]struct {
		objects []runtime.Object
		scope   settings.Scope
		exempt  []settings.Account
		want    lost
	}{
		"a Role": {
			bound("ci", tokenRule(), account("ci", "op")), only, nil, lost{all: []string{"ci/op"}},
		},
		"a ClusterRole in one place": {inNamespace, only, nil, lost{all: []string{"ci/here"}, bound: []string{"else/there"}}},
		"everywhere": {
			bound("", tokenRule(), account("ci", "op")), settings.Scope{}, nil,
			lost{all: []string{"ci/op"}, bound: []string{"ci/op"}},
		},
		"everywhere, one in scope": {bound("", tokenRule(), account("ci", "op")), only, nil, lost{all: []string{"ci/op"}}},
		"from outside": {
			bound("", tokenRule(), account("vault", "csi")), only, nil, lost{bound: []string{"vault/csi"}},
		},
		"everything": {
			bound("ci", allows("*", "*", "*"), account("ci", "op")), only, nil, lost{all: []string{"ci/op"}},
		},
		"tokens of all kinds": {
			bound("ci", allows("", "*/token", "create"), account("ci", "op")), only, nil, lost{all: []string{"ci/op"}},
		},
		"a user's name": {
			bound("ci", tokenRule(), named("User", "system:serviceaccount:ci:op")), only, nil, lost{all: []string{"ci/op"}},
		},
		"a namespace's group": {bound("ci", tokenRule(), named("Group", "system:serviceaccounts:ci")), only, nil,
			lost{all: []string{"every service account of namespace ci (group system:serviceaccounts:ci)"}}},
		"everybody's group": {bound("", tokenRule(), named("Group", "system:serviceaccounts")), only, nil,
			lost{all: []string{"every service account (group system:serviceaccounts)"}}},

		"exempt": {
			bound("ci", tokenRule(), account("ci", "op")), only, []settings.Account{{Namespace: "ci", Name: "op"}}, lost{},
		},
		"exempt, from outside": {
			bound("", tokenRule(), account("vault", "csi")), only, []settings.Account{{Namespace: "vault", Name: "csi"}}, lost{},
		},
		"out of scope": {bound("else", tokenRule(), account("else", "op")), only, nil, lost{}},
		"a person": {
			bound("ci", tokenRule(), named("User", "jane"), named("Group", "admins")), only, nil, lost{},
		},
		"another verb": {
			bound("ci", allows("", "serviceaccounts/token", "get"), account("ci", "op")), only, nil, lost{},
		},
		"another group": {bound("ci", allows("apps", "*", "*"), account("ci", "op")), only, nil, lost{}},
		"accounts alone": {
			bound("ci", allows("", "serviceaccounts", "create"), account("ci", "op")), only, nil, lost{},
		},
		"our grant":            {grantRole, only, nil, lost{}},
		"the add-on":           {bound("", tokenRule(), account(manifests.Namespace, "controller")), only, nil, lost{}},
		"a binding to nothing": {bound("ci", tokenRule(), account("ci", "op"))[1:], only, nil, lost{}},
	} {
		t.Run(name, func(t *testing.T) {
			p := Plan{Environment: testEnvironment, Settings: signingOn()}
			p.Settings.Scope, p.Settings.Exempt = tc.scope, tc.exempt
			c := newFakeCluster(t, append(tc.objects, enabletest.Namespace("ci", nil), enabletest.Namespace("else", nil),
				enabletest.Namespace("kube-system", nil))...)
			got, err := warner{c.Clients, p, settings.Default()}.tokenRights(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(lost{})); diff != "" {
				t.Errorf("accounts (-want +got):\n%s", diff)
			}
			again, err := warner{c.Clients, p, p.Settings}.tokenRights(t.Context())
			if err != nil || len(again.warnings()) > 0 {
				t.Errorf("with the same settings as before: got %v and %v, want nothing", again, err)
			}
		})
	}
}

// The plan names the account and the flag. A user who may not read RBAC gets a warning that it was not read.
func TestPlanNamesTokenRights(t *testing.T) {
	objects := append(bound("ci", tokenRule(), account("ci", "op")), enabletest.Namespace("ci", nil))
	for name, tc := range map[string]struct {
		forbidden string
		want      []string
	}{
		"read":             {"", []string{"ci/op", "--exempt-service-account NAMESPACE/NAME"}},
		"no roles":         {"roles", []string{"was not looked at", "--exempt-service-account NAMESPACE/NAME"}},
		"no bindings":      {"clusterrolebindings", []string{"was not looked at"}},
		"no cluster roles": {"clusterroles", []string{"was not looked at"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, objects...)
			if tc.forbidden != "" {
				c.kube.PrependReactor("list", tc.forbidden, func(clienttesting.Action) (bool, runtime.Object, error) {
					return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: tc.forbidden}, "", errors.New("no"))
				})
			}
			got := strings.Join(texts(planEnable(t, c, testRequest()).Warnings), "\n")
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("got warnings %q, want one with %q", got, want)
				}
			}
		})
	}
}

// Lists of more than one page are read to their end.
func TestTokenRightsPaged(t *testing.T) {
	c := newFakeCluster(t, append(bound("ci", tokenRule()), enabletest.Namespace("ci", nil))...)
	pages := 0
	c.kube.PrependReactor("list", "rolebindings", func(clienttesting.Action) (bool, runtime.Object, error) {
		pages++
		list := &rbacv1.RoleBindingList{Items: []rbacv1.RoleBinding{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "b"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "op"},
			Subjects: []rbacv1.Subject{account("ci", fmt.Sprintf("op-%d", pages))},
		}}}
		if pages < 3 {
			list.Continue = "more"
		}
		return true, list, nil
	})
	p := Plan{Environment: testEnvironment, Settings: signingOn()}
	got, err := warner{c.Clients, p, settings.Default()}.tokenRights(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ci/op-1", "ci/op-2", "ci/op-3"}, got.all); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

// A long list is cut, with the number of accounts that are left out.
func TestManyTokenRights(t *testing.T) {
	names := make([]string, maxAccounts+5)
	for i := range names {
		names[i] = fmt.Sprintf("ci/op-%03d", i)
	}
	got := lostRights{all: names}.warnings()
	if len(got) != 1 || !strings.Contains(got[0], "ci/op-099 and 5 more") {
		t.Errorf("got %q", got)
	}
}
