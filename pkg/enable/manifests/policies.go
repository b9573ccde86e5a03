// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Policies are admission policies and their bindings.
type Policies struct {
	Policies []*admissionv1.ValidatingAdmissionPolicy
	Bindings []*admissionv1.ValidatingAdmissionPolicyBinding
}

// RenderPolicies returns all policies of an installation.
func RenderPolicies(o Options) (Policies, error) {
	objects, err := Render(o)
	if err != nil {
		return Policies{}, err
	}
	var p Policies
	for _, object := range objects {
		switch obj := object.(type) {
		case *admissionv1.ValidatingAdmissionPolicy:
			p.Policies = append(p.Policies, obj)
		case *admissionv1.ValidatingAdmissionPolicyBinding:
			p.Bindings = append(p.Bindings, obj)
		}
	}
	return p, nil
}

// TokenPolicies are the names of the policies without which no namespace gets the right to request tokens.
func TokenPolicies() []string {
	return []string{SigningTokens, TokenRequesters, PodTokens, GrantsGuard}
}

// TokenBindings are the names of their bindings.
func TokenBindings() []string { return append(TokenPolicies(), PodTokensProbe) }

// OfTokens returns those policies and their bindings.
func (p Policies) OfTokens() Policies {
	ofTokens := func(policy string) bool { return slices.Contains(TokenPolicies(), policy) }
	var tokens Policies
	for _, policy := range p.Policies {
		if ofTokens(policy.Name) {
			tokens.Policies = append(tokens.Policies, policy)
		}
	}
	for _, binding := range p.Bindings {
		if ofTokens(binding.Spec.PolicyName) {
			tokens.Bindings = append(tokens.Bindings, binding)
		}
	}
	return tokens
}

// Drift is an error that names the first policy or binding that is missing in the cluster or was changed. The
// functions return the cluster's object with a name, or nil. The manifests contain every default, so objects are
// compared whole.
func (p Policies) Drift(
	policy func(name string) *admissionv1.ValidatingAdmissionPolicy,
	binding func(name string) *admissionv1.ValidatingAdmissionPolicyBinding,
) error {
	for _, want := range p.Policies {
		got := policy(want.Name)
		switch {
		case got == nil || got.DeletionTimestamp != nil:
			return fmt.Errorf("ValidatingAdmissionPolicy %s is missing", want.Name)
		case !equality.Semantic.DeepEqual(want.Spec, got.Spec):
			return fmt.Errorf("ValidatingAdmissionPolicy %s was changed", want.Name)
		}
	}
	for _, want := range p.Bindings {
		got := binding(want.Name)
		switch {
		case got == nil || got.DeletionTimestamp != nil:
			return fmt.Errorf("ValidatingAdmissionPolicyBinding %s is missing", want.Name)
		case !equality.Semantic.DeepEqual(want.Spec, got.Spec):
			return fmt.Errorf("ValidatingAdmissionPolicyBinding %s was changed", want.Name)
		}
	}
	return nil
}
