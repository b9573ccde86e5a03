// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

func TestTokenPolicyDrift(t *testing.T) {
	weaken := edited(manifests.SigningTokens, func(p *admissionv1.ValidatingAdmissionPolicy) { p.Spec.Validations = p.Spec.Validations[:5] })
	older := edited(manifests.Controller, func(d *appsv1.Deployment) { d.Labels[manifests.LabelVersion] = "v1.2.2" })
	for name, c := range map[string]struct {
		change    []edit
		off       bool
		forbidden string // resource
		want      string // in the error; empty: none
	}{
		"as it should be":         {},
		"no policy":               {change: []edit{dropped[*admissionv1.ValidatingAdmissionPolicy](manifests.SigningTokens)}, want: "ValidatingAdmissionPolicy tekton-sign-signing-tokens is missing"},
		"no binding":              {change: []edit{dropped[*admissionv1.ValidatingAdmissionPolicyBinding](manifests.TokenRequesters)}, want: "Binding tekton-sign-token-requesters is missing"},
		"a weaker policy":         {change: []edit{weaken}, want: "tekton-sign-signing-tokens was changed"},
		"another add-on's":        {change: []edit{weaken, older}},
		"none of another's":       {change: []edit{older, dropped[*admissionv1.ValidatingAdmissionPolicy](manifests.SigningTokens)}, want: "is missing"},
		"may not read them":       {change: []edit{weaken}, forbidden: "validatingadmissionpolicies"},
		"may not read bindings":   {change: []edit{weaken}, forbidden: "validatingadmissionpolicybindings"},
		"may not read the add-on": {change: []edit{weaken}, forbidden: "deployments"},
		"signing is off":          {change: []edit{weaken}, off: true},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			for _, change := range c.change {
				change(in)
			}
			client := fake.NewClientset(in.objects...)
			client.PrependReactor("*", "*", func(a k8stesting.Action) (bool, runtime.Object, error) {
				return a.GetResource().Resource == c.forbidden, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), "", nil)
			})
			live := Live{TektonNamespace: testEnvironment.TektonNamespace, Settings: settings.Default()}
			live.Settings.Backend, live.Settings.Scope.Names = signing.BackendOIDCSAToken, []string{"ci", "release"}
			if c.off {
				live.Settings.Backend = signing.BackendNone
			}
			err := live.TokenPolicyDrift(t.Context(), client, "v1.2.3")
			if c.want == "" && err != nil || c.want != "" && !matches(err, c.want) {
				t.Errorf("expected %q, got %v", c.want, err)
			}
		})
	}
}
