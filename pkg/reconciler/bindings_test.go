// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// TestBindingsFollowTheSettings: a change of the mode takes the strict policies along, and nothing else in a
// binding changes.
func TestBindingsFollowTheSettings(t *testing.T) {
	client := fake.NewClientset()
	known := NewSettings(client, "tekton-pipelines", zap.NewNop().Sugar())
	go known.Run(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), known.HasSynced) {
		t.Fatal("the settings were not seen")
	}
	b := NewBindings(client, known, "tekton-pipelines")
	live := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: manifests.TaskRunStatus},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: manifests.TaskRunStatus, ValidationActions: []admissionv1.ValidationAction{admissionv1.Warn},
		},
	}
	if err := client.Tracker().Add(live); err != nil {
		t.Fatal(err)
	}
	var keys []types.NamespacedName
	if err := b.Promote(pkgreconciler.UniversalBucket(),
		func(_ pkgreconciler.Bucket, key types.NamespacedName) { keys = append(keys, key) }); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 9 {
		t.Errorf("a new leader looks at %v, want the nine bindings that depend on the settings", keys)
	}
	s := settings.Default()
	for _, change := range []func(){
		func() {},
		func() { s.Enforcement = settings.Enforce },
		func() { s.Policies = settings.PoliciesStandard },
		func() { s.Policies, s.Scope.Names = settings.PoliciesStrict, []string{"ci"} },
	} {
		change()
		known.set(s)
		client.ClearActions()
		for range 2 { // the second look has nothing to do
			current, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(t.Context(), live.Name,
				metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.informers[live.Name].GetStore().Add(current); err != nil {
				t.Fatal(err)
			}
			for _, key := range keys { // the others are missing, and stay so
				if err := b.Reconcile(t.Context(), key.String()); err != nil {
					t.Fatal(err)
				}
			}
		}
		writes := 0
		for _, a := range client.Actions() {
			if a.GetVerb() == "update" {
				writes++
			} else if a.GetVerb() != "get" {
				t.Errorf("unexpected %s", a.GetVerb())
			}
		}
		after, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(t.Context(), live.Name,
			metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := live.Spec.DeepCopy()
		want.MatchResources = &admissionv1.MatchResources{NamespaceSelector: s.StrictSelector(
			settings.Reserved("tekton-pipelines"))}
		if diff := cmp.Diff(want, &after.Spec); diff != "" || writes != 1 {
			t.Errorf("%s, policies %q: %d writes, binding (-want +got):\n%s", s.Enforcement, s.Policies, writes, diff)
		}
	}
}
