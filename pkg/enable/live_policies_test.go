// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// edit changes the objects of an installation.
type edit = func([]runtime.Object) []runtime.Object

// isNamed returns a function that reports whether an object is the one of type T with a name.
func isNamed[T runtime.Object](name string) func(runtime.Object) bool {
	return func(object runtime.Object) bool {
		m, err := meta.Accessor(object)
		_, ok := object.(T)
		return err == nil && ok && m.GetName() == name
	}
}

// edited changes the object of type T with a name.
func edited[T runtime.Object](name string, change func(T)) edit {
	return func(objects []runtime.Object) []runtime.Object {
		change(objects[slices.IndexFunc(objects, isNamed[T](name))].(T)) //nolint:forcetypeassert // isNamed has seen the type
		return objects
	}
}

// dropped removes the object of type T with a name.
func dropped[T runtime.Object](name string) edit {
	return func(objects []runtime.Object) []runtime.Object { return slices.DeleteFunc(objects, isNamed[T](name)) }
}

func TestTokenPolicyDrift(t *testing.T) {
	type (
		policy  = *admissionv1.ValidatingAdmissionPolicy
		binding = *admissionv1.ValidatingAdmissionPolicyBinding
	)
	noPolicy := dropped[policy](manifests.SigningTokens)
	noBinding := dropped[binding](manifests.TokenRequesters)
	weaken := edited(manifests.SigningTokens, func(p policy) { p.Spec.Validations = p.Spec.Validations[:5] })
	older := edited(manifests.Controller, func(d *appsv1.Deployment) { d.Labels[manifests.LabelVersion] = "v1.2.2" })
	for name, c := range map[string]struct {
		change    []edit
		off       bool
		forbidden string // resource
		want      string // in the error; empty: none
	}{
		"as it should be": {},
		"no policy": {
			change: []edit{noPolicy}, want: "ValidatingAdmissionPolicy tekton-sign-signing-tokens is missing",
		},
		"no binding":      {change: []edit{noBinding}, want: "Binding tekton-sign-token-requesters is missing"},
		"a weaker policy": {change: []edit{weaken}, want: "tekton-sign-signing-tokens was changed"},

		"a weaker policy, another version": {change: []edit{weaken, older}},
		"no policy, another version":       {change: []edit{older, noPolicy}, want: "is missing"},

		"policies forbidden":   {change: []edit{weaken}, forbidden: "validatingadmissionpolicies"},
		"bindings forbidden":   {change: []edit{weaken}, forbidden: "validatingadmissionpolicybindings"},
		"the add-on forbidden": {change: []edit{weaken}, forbidden: "deployments"},
		"signing is off":       {change: []edit{weaken}, off: true},
	} {
		t.Run(name, func(t *testing.T) {
			live := Live{TektonNamespace: testEnvironment.TektonNamespace, Settings: settings.Default()}
			live.Settings.Backend, live.Settings.Scope.Names = signing.BackendOIDCSAToken, []string{"ci", "release"}
			objects, err := manifests.Render(manifests.Options{
				TektonNamespace: live.TektonNamespace, Registry: "reg.example", Version: "v1.2.3", Settings: live.Settings,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, change := range c.change {
				objects = change(objects)
			}
			client := fake.NewClientset(objects...)
			client.PrependReactor("*", "*", func(a k8stesting.Action) (bool, runtime.Object, error) {
				resource := a.GetResource()
				return resource.Resource == c.forbidden, nil, apierrors.NewForbidden(resource.GroupResource(), "", nil)
			})
			if c.off {
				live.Settings.Backend = signing.BackendNone
			}
			err = live.TokenPolicyDrift(t.Context(), client, "v1.2.3")
			if c.want == "" && err != nil || c.want != "" && !matches(err, c.want) {
				t.Errorf("expected %q, got %v", c.want, err)
			}
		})
	}
}
