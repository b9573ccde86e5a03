// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func tokenPolicies(t *testing.T) Policies {
	t.Helper()
	p, err := RenderPolicies(testOptions())
	if err != nil {
		t.Fatal(err)
	}
	return p.OfTokens()
}

func TestDrift(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(p *Policies)
		err    string
	}{
		"none":            {change: func(*Policies) {}},
		"labels differ":   {change: func(p *Policies) { p.Policies[0].Labels = nil }},
		"missing policy":  {change: func(p *Policies) { p.Policies = p.Policies[1:] }, err: SigningTokens + " is missing"},
		"missing binding": {change: func(p *Policies) { p.Bindings = p.Bindings[:4] }, err: GrantsGuard + " is missing"},
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
			p.Bindings[2].Spec.MatchResources.NamespaceSelector.MatchExpressions[0].Values = []string{"cd"}
		}, err: "ValidatingAdmissionPolicyBinding " + PodTokens + " was changed"},
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
