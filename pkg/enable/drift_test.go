// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

func TestDrift(t *testing.T) {
	c := newFakeCluster(t)
	install(t, c, planEnable(t, c, testRequest()))
	look := func() []string {
		t.Helper()
		drift, err := Drift(t.Context(), c.Clients, testEnvironment, testRequest())
		if err != nil {
			t.Fatal(err)
		}
		return drift
	}
	if drift := look(); len(drift) != 2*7 {
		t.Errorf("before the add-on has written authority and namespaces: got %q, want two sentences for each of 7 webhooks", drift)
	}
	c.sync(t)
	if drift := look(); len(drift) > 0 {
		t.Errorf("an installation in order: got %q", drift)
	}
	bindings := c.dynamic.Resource(admissionv1.SchemeGroupVersion.WithResource("validatingadmissionpolicybindings"))
	if err := bindings.Delete(t.Context(), manifests.TaskRunStatus, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	stored, err := c.dynamic.Resource(webhookConfigurations).Get(t.Context(), manifests.InjectWebhook, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedField(webhooksOf(stored)[1], "Ignore", "failurePolicy"); err != nil {
		t.Fatal(err)
	}
	if err := c.dynamic.Tracker().Update(webhookConfigurations, stored, ""); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ValidatingAdmissionPolicyBinding " + manifests.TaskRunStatus + " is missing",
		"MutatingWebhookConfiguration " + manifests.InjectWebhook + ": webhook " + manifests.InjectEnforce + " was changed: failurePolicy",
	}
	if diff := cmp.Diff(want, look()); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
}
