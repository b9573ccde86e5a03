// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// registrationsIn returns the objects of other controllers among objects, by name.
func registrationsIn(objects []runtime.Object) map[string]*unstructured.Unstructured {
	found := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		if u, ok := o.(*unstructured.Unstructured); ok {
			found[u.GetName()] = u
		}
	}
	return found
}

// TestRegistrations renders the objects of spire-controller-manager only if the settings ask for them, with the label
// by which disable finds them. With other settings, enable removes them.
func TestRegistrations(t *testing.T) {
	for name, tc := range map[string]struct {
		backend signing.Backend
		entries settings.SPIREEntries
		want    bool
	}{
		"wanted":          {signing.BackendSPIRE, settings.EntriesManager, true},
		"by the API":      {signing.BackendSPIRE, settings.EntriesAPI, false},
		"by others":       {signing.BackendSPIRE, settings.EntriesNone, false},
		"another backend": {signing.BackendOIDCSAToken, settings.EntriesManager, false},
	} {
		o := testOptions()
		o.Settings.Backend, o.Settings.SPIRE.Entries = tc.backend, tc.entries
		unneeded, err := Unneeded(o)
		if err != nil {
			t.Fatal(err)
		}
		rendered, removed := registrationsIn(render(t, o)), registrationsIn(unneeded)
		if (len(rendered) == 2) != tc.want || (len(removed) == 2) == tc.want || len(rendered)+len(removed) != 2 {
			t.Errorf("%s: rendered %d, removed %d", name, len(rendered), len(removed))
		}
		for _, u := range rendered {
			if u.GetLabels()[LabelPartOf] != PartOf {
				t.Errorf("%s: labels %v", name, u.GetLabels())
			}
		}
	}
}

// TestRegistrationsInScope limits the registration to the namespaces in scope, without the reserved ones.
func TestRegistrationsInScope(t *testing.T) {
	o := testOptions()
	o.Settings.Backend, o.Settings.SPIRE.Entries = signing.BackendSPIRE, settings.EntriesManager
	o.Settings.Scope = settings.Scope{Selector: "team=ci"}
	u := registrationsIn(render(t, o))["tekton-sign-taskruns"]
	content, _, err := unstructured.NestedMap(u.Object, "spec", "namespaceSelector")
	if err != nil {
		t.Fatal(err)
	}
	got := &metav1.LabelSelector{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(o.Settings.Scope.LabelSelector(settings.Reserved(o.TektonNamespace)), got); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}
