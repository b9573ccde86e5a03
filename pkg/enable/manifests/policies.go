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

// FencePolicies are the names of the policies without which no namespace counts as protected: those on tokens, and the
// one on who creates the pods of TaskRuns.
func FencePolicies() []string { return append(TokenPolicies(), TaskRunPodMarks) }

// FenceBindings are the names of their bindings.
func FenceBindings() []string { return append(TokenBindings(), TaskRunPodMarks) }

// TokenPolicies are the names of the policies on tokens. The proof of a record rests on them, whatever the backend.
func TokenPolicies() []string {
	return []string{SigningTokens, TokenRequesters, PodTokens, GrantsGuard}
}

// TokenBindings are the names of their bindings.
func TokenBindings() []string { return append(TokenPolicies(), PodTokensProbe) }

// OfTokens returns the policies on tokens and their bindings.
func (p Policies) OfTokens() Policies { return p.of(TokenPolicies()) }

// OfFence returns the policies of FencePolicies and their bindings.
func (p Policies) OfFence() Policies { return p.of(FencePolicies()) }

// of returns the policies with these names and their bindings.
func (p Policies) of(names []string) Policies {
	var some Policies
	for _, policy := range p.Policies {
		if slices.Contains(names, policy.Name) {
			some.Policies = append(some.Policies, policy)
		}
	}
	for _, binding := range p.Bindings {
		if slices.Contains(names, binding.Spec.PolicyName) {
			some.Bindings = append(some.Bindings, binding)
		}
	}
	return some
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
