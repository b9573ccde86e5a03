// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func tokenPolicies(t *testing.T) Policies {
	t.Helper()
	p, err := RenderPolicies(testOptions())
	if err != nil {
		t.Fatal(err)
	}
	return p.TokenPolicies()
}

func TestDrift(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(p *Policies)
		err    string
	}{
		"none":            {change: func(*Policies) {}},
		"labels differ":   {change: func(p *Policies) { p.Policies[0].Labels = nil }},
		"missing policy":  {change: func(p *Policies) { p.Policies = p.Policies[1:] }, err: SigningTokens + " is missing"},
		"missing binding": {change: func(p *Policies) { p.Bindings = p.Bindings[:2] }, err: TokenRequestersProbe + " is missing"},
		"policy being deleted": {change: func(p *Policies) {
			p.Policies[1].DeletionTimestamp = &metav1.Time{}
		}, err: TokenRequesters + " is missing"},
		"weaker rule": {change: func(p *Policies) {
			p.Policies[0].Spec.Validations[4].Expression = "true"
		}, err: SigningTokens + " was changed"},
		"one rule less": {change: func(p *Policies) {
			p.Policies[0].Spec.Validations = p.Policies[0].Spec.Validations[:5]
		}, err: SigningTokens + " was changed"},
		"one condition more": {change: func(p *Policies) {
			p.Policies[1].Spec.MatchConditions = append(p.Policies[1].Spec.MatchConditions,
				admissionv1.MatchCondition{Name: "never", Expression: "false"})
		}, err: TokenRequesters + " was changed"},
		"only warns": {change: func(p *Policies) {
			p.Bindings[0].Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn}
		}, err: "ValidatingAdmissionPolicyBinding " + SigningTokens + " was changed"},
		"fewer namespaces": {change: func(p *Policies) {
			p.Bindings[1].Spec.MatchResources.NamespaceSelector.MatchExpressions[0].Values = []string{"cd"}
		}, err: "ValidatingAdmissionPolicyBinding " + TokenRequesters + " was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			want, live := tokenPolicies(t), tokenPolicies(t)
			tc.change(&live)
			err := want.Drift(lookup(live.Policies), lookup(live.Bindings))
			switch {
			case tc.err == "" && err != nil:
				t.Errorf("unexpected drift: %v", err)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("got %v, want an error with %q", err, tc.err)
			}
		})
	}
}

// TestDifferences: what weakens an installation is named, and nothing else.
func TestDifferences(t *testing.T) {
	served := func() []runtime.Object {
		objects := render(t, testOptions())
		for _, name := range []string{InjectWebhook, StatusWebhook, ChainsGate} {
			for i := range find[*admissionv1.MutatingWebhookConfiguration](t, objects, name).Webhooks {
				find[*admissionv1.MutatingWebhookConfiguration](t, objects, name).Webhooks[i].ClientConfig.CABundle = []byte("ca")
			}
		}
		return objects
	}
	webhook := func(objects []runtime.Object) *admissionv1.MutatingWebhookConfiguration {
		return find[*admissionv1.MutatingWebhookConfiguration](t, objects, StatusWebhook)
	}
	fail := admissionv1.Ignore
	for name, tc := range map[string]struct {
		change func(live []runtime.Object)
		want   []string
	}{
		"none": {func([]runtime.Object) {}, nil},
		"a policy has a condition more": {func(live []runtime.Object) {
			p := find[*admissionv1.ValidatingAdmissionPolicy](t, live, TaskRunStatus)
			p.Spec.MatchConditions = append(p.Spec.MatchConditions, admissionv1.MatchCondition{Name: "never", Expression: "false"})
		}, []string{"ValidatingAdmissionPolicy " + TaskRunStatus + " was changed"}},
		"a binding only warns": {func(live []runtime.Object) {
			find[*admissionv1.ValidatingAdmissionPolicyBinding](t, live, EnforcementGuard).Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn}
		}, []string{"ValidatingAdmissionPolicyBinding " + EnforcementGuard + " was changed"}},
		"a webhook may fail": {func(live []runtime.Object) {
			webhook(live).Webhooks[1].FailurePolicy = &fail
			webhook(live).Webhooks[1].TimeoutSeconds = nil
		}, []string{"MutatingWebhookConfiguration " + StatusWebhook + ": webhook " + StatusEnforce + " was changed: failurePolicy, timeoutSeconds"}},
		"webhooks are of an older version": {func(live []runtime.Object) {
			webhook(live).Webhooks = webhook(live).Webhooks[:1]
			webhook(live).Webhooks[0].Name = "status.tekton-sign.dev"
		}, []string{
			"MutatingWebhookConfiguration " + StatusWebhook + ": webhook " + StatusAudit + " is missing",
			"MutatingWebhookConfiguration " + StatusWebhook + ": webhook " + StatusEnforce + " is missing",
			"MutatingWebhookConfiguration " + StatusWebhook + ": webhook status.tekton-sign.dev was added",
		}},
		"nobody wrote the authority": {func(live []runtime.Object) {
			webhook(live).Webhooks[0].ClientConfig.CABundle = nil
		}, []string{"MutatingWebhookConfiguration " + StatusWebhook + ": webhook " + StatusAudit + " has no certificate authority"}},
		"a role gives more": {func(live []runtime.Object) {
			role := find[*rbacv1.ClusterRole](t, live, TokenRequester)
			role.Rules[0].Verbs = append(role.Rules[0].Verbs, "get")
		}, []string{"ClusterRole " + TokenRequester + " was changed"}},
		"a binding is for others, too": {func(live []runtime.Object) {
			binding := find[*rbacv1.ClusterRoleBinding](t, live, Controller)
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{Kind: "User", Name: "jane"})
		}, []string{"ClusterRoleBinding " + Controller + " was changed"}},
		"a role is being deleted": {func(live []runtime.Object) {
			find[*rbacv1.ClusterRole](t, live, TokenRequester).DeletionTimestamp = &metav1.Time{}
		}, []string{"ClusterRole " + TokenRequester + " is missing"}},
		"labels and replicas do not count": {func(live []runtime.Object) {
			find[*rbacv1.ClusterRole](t, live, TokenRequester).Labels = nil
		}, nil},
	} {
		live := served()
		tc.change(live)
		var got []string
		for i, want := range render(t, testOptions()) {
			got = append(got, Differences(want, live[i])...)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := Differences(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}}, (*rbacv1.Role)(nil)); !cmp.Equal(got, []string{"Role a/b is missing"}) {
		t.Errorf("no object: got %q", got)
	}
}
