// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Policies are the admission policies without which no namespace is given the right to request tokens.
type Policies struct {
	Policies []*admissionv1.ValidatingAdmissionPolicy
	Bindings []*admissionv1.ValidatingAdmissionPolicyBinding
}

// RenderPolicies returns those policies of an installation. What guards the gate in front of Chains is none of them.
func RenderPolicies(o Options) (Policies, error) {
	objects, err := Render(o)
	if err != nil {
		return Policies{}, err
	}
	var p Policies
	for _, object := range objects {
		switch obj := object.(type) {
		case *admissionv1.ValidatingAdmissionPolicy:
			if obj.Name != ChainsGate {
				p.Policies = append(p.Policies, obj)
			}
		case *admissionv1.ValidatingAdmissionPolicyBinding:
			if obj.Name != ChainsGate {
				p.Bindings = append(p.Bindings, obj)
			}
		}
	}
	return p, nil
}

// Drift is an error that names the first policy or binding which the cluster lacks or has in another form. The functions
// return the cluster's object of a name, or nil. The manifests spell out every default, so that objects are compared whole.
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
