// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// With a stolen token of the add-on, nothing but the grant can be bound.
func TestGrantsPolicy(t *testing.T) {
	const keeper = "system:serviceaccount:tekton-sign:keeper"
	bind := func(namespace string, change func(*rbacv1.RoleBinding)) asked {
		grant := Grant(signing.BackendOIDCSAToken, namespace, "fence")
		if change != nil {
			change(grant)
		}
		return asked{
			user: keeper, groups: []string{"system:serviceaccounts", "system:serviceaccounts:tekton-sign"}, operation: "CREATE",
			namespace: namespace, object: grant, namespaceLabels: map[string]string{"team": namespace},
		}
	}
	by := func(a asked, user string, groups ...string) asked { a.user, a.groups = user, groups; return a }
	cases := map[string]struct {
		asked asked
		shown string
	}{
		"the grant":        {bind("ci", nil), ""},
		"by somebody else": {by(bind("ci", nil), "admin"), "was not created for admin: its age shows since when"},
		"by the add-on's other account": {by(bind("ci", nil), "system:serviceaccount:tekton-sign:controller",
			"system:serviceaccounts:tekton-sign"), "its age shows since when"},
		"suspended": {bind("ci", func(b *rbacv1.RoleBinding) { b.Subjects = nil }), ""},
		"under any name": {
			bind("ci", func(b *rbacv1.RoleBinding) { b.Name = "x" }), "of the name tekton-sign-token-requester only",
		},
		"of another role": {
			bind("ci", func(b *rbacv1.RoleBinding) { b.RoleRef.Name = "cluster-admin" }),
			"grants ClusterRole tekton-sign-token-requester only",
		},
		"of a role's name": {
			bind("ci", func(b *rbacv1.RoleBinding) { b.RoleRef.Kind = "Role" }),
			"grants ClusterRole tekton-sign-token-requester only",
		},
		"to itself": {bind("ci", func(b *rbacv1.RoleBinding) {
			b.Subjects = []rbacv1.Subject{{Kind: "ServiceAccount", Name: "keeper", Namespace: "tekton-sign"}}
		}), "to the service accounts of the namespace itself only"},
		"to another namespace": {
			bind("ci", func(b *rbacv1.RoleBinding) { b.Subjects[0].Name = "system:serviceaccounts:cd" }), "itself only",
		},
		"to itself beside": {bind("ci", func(b *rbacv1.RoleBinding) {
			b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: "User", Name: keeper})
		}), "itself only"},
		"out of scope":        {bind("web", nil), "namespace web is not in the scope"},
		"where Tekton runs":   {bind("openshift-pipelines", nil), "is not in the scope"},
		"in the add-on's own": {bind("tekton-sign", nil), "is not in the scope"},
		"by the other account": {
			by(bind("ci", func(b *rbacv1.RoleBinding) { b.Name = "x" }), addOn, "system:serviceaccounts:tekton-sign"),
			"of the name",
		},
		"by an administrator": {
			by(bind("web", func(b *rbacv1.RoleBinding) { b.Name = "x" }), "kubernetes-admin", "system:masters"), "",
		},
	}
	checkRefusals(t, GrantsGuard, cases)
	o := testOptions()
	o.Settings.Scope = settings.Scope{Selector: "team in (cd,ci)"}
	checkRefusalsWith(t, o, GrantsGuard, cases)
}

// The add-on's accounts can create pods only as dry runs, and the policies on pods of TaskRuns admit those of the
// keeper, however strict they are. The policy does not apply to pods that others create.
func TestDryRunsPolicy(t *testing.T) {
	ours := []string{"system:serviceaccounts", "system:serviceaccounts:tekton-sign"}
	const keeper = "system:serviceaccount:tekton-sign:keeper"
	trial := asked{user: keeper, groups: ours, operation: "CREATE", namespace: "ci", dryRun: true, object: tektonsPod()}
	forGood := trial
	forGood.dryRun = false
	elsewhere := forGood
	elsewhere.namespace, elsewhere.object = "tekton-sign", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	controllers := elsewhere
	controllers.user = addOn
	others := elsewhere
	others.user = "system:serviceaccount:ci:keeper"
	others.groups = []string{"system:serviceaccounts", "system:serviceaccounts:ci"}
	const shown = "creates pods as dry runs only"
	checkRefusals(t, DryRunsGuard+" "+TaskRunPodMarks+" "+TaskRunPods, map[string]struct {
		asked asked
		shown string
	}{
		"a trial":                  {trial, ""},
		"a pod of a TaskRun":       {forGood, shown},
		"a pod of its own":         {elsewhere, shown},
		"one of the other account": {controllers, shown},
		"a pod of somebody else":   {others, ""},
	})
}

// The add-on's accounts can delete pods of TaskRuns with the signer that did not start, and no others. The policy
// does not apply to pods that others delete.
func TestUnstartedPodsPolicy(t *testing.T) {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p, yes := tektonsPod(), true
		p.OwnerReferences[0].Controller = &yes
		p.Status.Phase = corev1.PodPending
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "tekton-internal-sign"})
		if change != nil {
			change(p)
		}
		return p
	}
	deletes := func(user string, change func(*corev1.Pod)) asked {
		groups := []string{"system:serviceaccounts", "system:serviceaccounts:tekton-sign"}
		if user != addOn {
			groups = nil
		}
		return asked{user: user, groups: groups, operation: "DELETE", namespace: "ci", old: pod(change)}
	}
	const shown = "that did not start, and no others"
	checkRefusals(t, UnstartedGuard, map[string]struct {
		asked asked
		shown string
	}{
		"one that did not start": {deletes(addOn, nil), ""},
		"one that runs":          {deletes(addOn, func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }), shown},
		"one without the signer": {deletes(addOn, func(p *corev1.Pod) { p.Spec.Volumes = nil }), shown},
		"one of nobody":          {deletes(addOn, func(p *corev1.Pod) { p.OwnerReferences = nil }), shown},
		"by somebody else":       {deletes("jane", func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }), ""},
	})
}

// Nobody gets the right to create pods before the policy is there that allows only dry runs.
func TestDryRunsComeAfterTheirPolicy(t *testing.T) {
	var order []string
	for _, object := range render(t, testOptions()) {
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			for _, r := range o.Rules {
				if slices.Contains(r.Resources, "pods") && slices.Contains(r.Verbs, "create") {
					order = append(order, "ClusterRole "+o.Name)
				}
			}
		case *admissionv1.ValidatingAdmissionPolicy:
			if o.Name == DryRunsGuard {
				order = append(order, "policy")
			}
		case *admissionv1.ValidatingAdmissionPolicyBinding:
			if o.Spec.PolicyName == DryRunsGuard {
				order = append(order, "binding")
			}
		}
	}
	if got, want := strings.Join(order, ", "), "policy, binding, ClusterRole "+DryRunsGuard; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// With a stolen token of the add-on, nobody can send other requests to its webhooks, or have others called.
func TestWebhooksPolicy(t *testing.T) {
	const keeper = "system:serviceaccount:tekton-sign:keeper"
	live := func(change func(*admissionv1.MutatingWebhookConfiguration)) *admissionv1.MutatingWebhookConfiguration {
		c := find[*admissionv1.MutatingWebhookConfiguration](t, render(t, testOptions()), StatusWebhook)
		if change != nil {
			change(c)
		}
		return c
	}
	update := func(change func(*admissionv1.MutatingWebhookConfiguration)) asked {
		return asked{
			user: keeper, groups: []string{"system:serviceaccounts:tekton-sign"}, operation: "UPDATE", old: live(nil),
			object: live(change),
		}
	}
	create := update(nil)
	create.operation, create.old = "CREATE", nil
	administrator := update(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks = nil })
	administrator.user, administrator.groups = "kubernetes-admin", []string{"system:masters"}
	const refused = "the certificate authority and the namespaces of its webhooks only"
	ignore, url := admissionv1.Ignore, "https://elsewhere.example"
	checkRefusals(t, WebhooksGuard, map[string]struct {
		asked asked
		shown string
	}{
		"nothing": {update(nil), ""},
		"its own part": {update(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.CABundle, c.Webhooks[1].NamespaceSelector = []byte("ca"), &metav1.LabelSelector{}
		}), ""},
		"Secrets": {update(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].Rules[0].Resources = append(c.Webhooks[0].Rules[0].Resources, "secrets")
		}), refused},
		"another address": {update(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.Service, c.Webhooks[0].ClientConfig.URL = nil, &url
		}), refused},
		"another Service": {
			update(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[0].ClientConfig.Service.Name = "x" }), refused,
		},
		"enforcement made weaker": {
			update(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[1].FailurePolicy = &ignore }), refused,
		},
		"everything matches": {
			update(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[0].MatchConditions = nil }), refused,
		},
		"one webhook less": {
			update(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks = c.Webhooks[:1] }), refused,
		},
		"one webhook more": {update(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks = append(c.Webhooks, admissionv1.MutatingWebhook{Name: "more"})
		}), refused},
		"a configuration of its own": {create, refused},
		"by an administrator":        {administrator, ""},
	})
}
