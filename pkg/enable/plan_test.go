// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

func planEnable(t *testing.T, c *fakeCluster, r Request) Plan {
	t.Helper()
	plan, err := PlanEnable(t.Context(), c.Clients, testEnvironment, r)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// sync copies the settings from the dynamic client to the typed one, and writes into the webhooks what the add-on
// writes.
func (c *fakeCluster) sync(t *testing.T) {
	t.Helper()
	c.serve(t)
	stored, err := c.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(
		testEnvironment.TektonNamespace).
		Get(t.Context(), settings.ConfigMapName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cm := &corev1.ConfigMap{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stored.Object, cm); err != nil {
		t.Fatal(err)
	}
	_ = c.kube.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"), cm.Namespace, cm.Name)
	if err := c.kube.Tracker().Add(cm); err != nil {
		t.Fatal(err)
	}
}

// serve writes authority and namespaces into the stored webhook configurations, for the settings of testRequest.
func (c *fakeCluster) serve(t *testing.T) {
	t.Helper()
	selectors := manifests.WebhookSelectors(testRequest().Settings, testEnvironment.TektonNamespace)
	for _, name := range manifests.WebhookConfigurations() {
		stored, err := c.dynamic.Resource(webhookConfigurations).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		object.SetAuthority(stored, "Y2E=")
		for _, webhook := range object.Webhooks(stored) {
			name, _, _ := unstructured.NestedString(webhook, "name")
			if webhook["namespaceSelector"], err = runtime.DefaultUnstructuredConverter.ToUnstructured(
				selectors[name]); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.dynamic.Tracker().Update(webhookConfigurations, stored, ""); err != nil {
			t.Fatal(err)
		}
	}
}

var webhookConfigurations = admissionv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations")

// A new configuration has no namespaces, because the add-on cannot answer yet. An old one is replaced as a whole,
// except for its authority.
func TestPlanWebhooks(t *testing.T) {
	c := newFakeCluster(t)
	install(t, c, planEnable(t, c, testRequest()))
	get := func() *admissionv1.MutatingWebhookConfiguration {
		stored, err := c.dynamic.Resource(webhookConfigurations).Get(t.Context(), manifests.StatusWebhook,
			metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		typed := &admissionv1.MutatingWebhookConfiguration{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stored.Object, typed); err != nil {
			t.Fatal(err)
		}
		return typed
	}
	for _, w := range get().Webhooks {
		selector, err := metav1.LabelSelectorAsSelector(w.NamespaceSelector)
		if err != nil || selector.Matches(labels.Set{"kubernetes.io/metadata.name": "ci"}) {
			t.Errorf("%s is called before it can answer: %v, %v", w.Name, selector, err)
		}
	}
	c.sync(t)
	edited := get()
	edited.Webhooks[0].MatchConditions = append(edited.Webhooks[0].MatchConditions,
		admissionv1.MatchCondition{Name: "never", Expression: "false"})
	// of an older version
	edited.Webhooks = append(edited.Webhooks, admissionv1.MutatingWebhook{Name: "status.tekton-sign.dev"})
	object, err := object.From(edited)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.dynamic.Tracker().Update(webhookConfigurations, object, ""); err != nil {
		t.Fatal(err)
	}
	plan := planEnable(t, c, testRequest())
	if got, want := changed(plan), "update MutatingWebhookConfiguration "+manifests.StatusWebhook; got != want {
		t.Fatalf("plan: got %q, want %q", got, want)
	}
	install(t, c, plan)
	var names []string
	for _, w := range get().Webhooks {
		names = append(names, w.Name)
		if len(w.MatchConditions) != 2 || string(w.ClientConfig.CABundle) != "ca" {
			t.Errorf("%s: got conditions %v and authority %q, want those of the manifest and the add-on's", w.Name,
				w.MatchConditions, w.ClientConfig.CABundle)
		}
	}
	if diff := cmp.Diff([]string{manifests.StatusAudit, manifests.StatusEnforce}, names); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
}

func TestPlanEnable(t *testing.T) {
	c := newFakeCluster(t)
	plan := planEnable(t, c, testRequest())
	if n := len(plan.Changes); plan.Count(Create) != n || n < 20 {
		t.Errorf("an empty cluster: got %d of %d to create", plan.Count(Create), n)
	}
	if len(c.writes) > 0 {
		t.Errorf("planning has written: %v", c.writes)
	}
	install(t, c, plan)
	c.sync(t)
	if again := planEnable(t, c, testRequest()); !again.Empty() {
		t.Errorf("a second enable would change: %s", changed(again))
	}
}

func TestPlanEnableOtherScope(t *testing.T) {
	c := newFakeCluster(t)
	install(t, c, planEnable(t, c, testRequest()))
	c.sync(t)
	narrower := testRequest()
	narrower.Settings.Scope.Names = []string{"ci"}
	want := strings.Join([]string{
		"update ValidatingAdmissionPolicyBinding " + manifests.PodTokens,
		"update ValidatingAdmissionPolicy " + manifests.GrantsGuard,
		"update ValidatingAdmissionPolicyBinding " + manifests.TaskRunPodMarks,
		"update ValidatingAdmissionPolicyBinding " + manifests.TaskRunPods,
		"update ValidatingAdmissionPolicyBinding " + manifests.TaskRunPodAccess,
		"update ValidatingAdmissionPolicyBinding " + manifests.TaskRunStatus,
		"update ValidatingAdmissionPolicyBinding " + manifests.PipelineChildren,
		"update ValidatingAdmissionPolicyBinding " + manifests.PipelineStatus,
		"update ValidatingAdmissionPolicyBinding " + manifests.ManagedBy,
		"update ConfigMap openshift-pipelines/config-signing",
		"update MutatingWebhookConfiguration " + manifests.InjectWebhook,
		"update MutatingWebhookConfiguration " + manifests.StatusWebhook,
		"update MutatingWebhookConfiguration " + manifests.ConsumersWebhook,
	}, "\n")
	if diff := cmp.Diff(want, changed(planEnable(t, c, narrower))); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

// A condition that switches a policy off is removed. An apply that merges would keep it.
func TestPlanRepairsPolicies(t *testing.T) {
	c := newFakeCluster(t)
	install(t, c, planEnable(t, c, testRequest()))
	c.sync(t)
	policies := c.dynamic.Resource(schema.GroupVersionResource{
		Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies",
	})
	policy, err := policies.Get(t.Context(), manifests.SigningTokens, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedField(policy.Object, "Equivalent", "spec", "somethingElse"); err != nil {
		t.Fatal(err)
	}
	if _, err := policies.Update(t.Context(), policy, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	plan := planEnable(t, c, testRequest())
	if got, want := changed(plan), "update ValidatingAdmissionPolicy "+manifests.SigningTokens; got != want {
		t.Fatalf("plan: got %q, want %q", got, want)
	}
	install(t, c, plan)
	policy, err = policies.Get(t.Context(), manifests.SigningTokens, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, found, _ := unstructured.NestedString(policy.Object, "spec", "somethingElse"); found {
		t.Error("what somebody added to the policy is still there")
	}
}

func TestPlanEnableRefuses(t *testing.T) {
	terminating := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: manifests.Namespace, DeletionTimestamp: &metav1.Time{}, Finalizers: []string{"kubernetes"},
	}}
	future := configMap(map[string]string{"of-the-future": "x"}, nil)
	future.Namespace = testEnvironment.TektonNamespace
	reserved, open := testRequest(), testRequest()
	reserved.Settings.Scope.Names = []string{"openshift-pipelines"}
	open.Settings.Policies = settings.PoliciesNone
	for name, tc := range map[string]struct {
		objects []runtime.Object
		request Request
		err     string
	}{
		"disable is at work": {[]runtime.Object{terminating}, testRequest(), "is being deleted"},
		"unknown key":        {[]runtime.Object{future}, testRequest(), "of-the-future: unknown key"},
		"reserved namespace": {nil, reserved, "openshift-pipelines is reserved"},
		"no policies":        {nil, open, "needs policies standard or strict"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, tc.objects...)
			if _, err := PlanEnable(t.Context(), c.Clients, testEnvironment, tc.request); !matches(err, tc.err) {
				t.Errorf("got %v, want an error with %q", err, tc.err)
			}
		})
	}
}

func TestCheckPermissions(t *testing.T) {
	c := newFakeCluster(t)
	plan := planEnable(t, c, testRequest())
	c.kube.PrependReactor("create", "selfsubjectaccessreviews",
		func(a clienttesting.Action) (bool, runtime.Object, error) {
			create, _ := a.(clienttesting.CreateAction)
			review, _ := create.GetObject().(*authorizationv1.SelfSubjectAccessReview)
			review = review.DeepCopy()
			review.Status.Allowed = review.Spec.ResourceAttributes.Resource != "clusterroles"
			return true, review, nil
		})
	err := plan.CheckPermissions(t.Context(), c.Clients)
	if !IsForbidden(err) || !matches(err, "create clusterroles.rbac.authorization.k8s.io") ||
		!matches(err, "nothing was changed") {
		t.Errorf("got %v, want what is missing", err)
	}
	if err := (Plan{}).CheckPermissions(t.Context(), c.Clients); err != nil {
		t.Errorf("an empty plan needs nothing, got %v", err)
	}
}

func TestWriteText(t *testing.T) {
	old, hostile := "none", "\x1b[2J"
	object := func(kind, namespace, name string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{}
		u.SetKind(kind)
		u.SetNamespace(namespace)
		u.SetName(name)
		return u
	}
	plan := Plan{Changes: []Change{
		{Action: Create, Object: object("Namespace", "", "tekton-sign")},
		{Action: Unchanged, Object: object("Role", "a", "b")},
		{Action: Update, Object: object("ConfigMap", "a", "c"), Keys: []KeyChange{{"k", &old, nil}, {"l", nil, &hostile}}},
	}}
	var b strings.Builder
	if err := plan.WriteText(&b, func(s string) string { return strings.ReplaceAll(s, "\x1b", "?") }); err != nil {
		t.Fatal(err)
	}
	want := `  create     Namespace tekton-sign
  unchanged  Role a/b
  update     ConfigMap a/c
               k: none -> (absent)
               l: (absent) -> ?[2J
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if got, want := plan.Summary(), "1 to create, 1 to update, 1 unchanged"; got != want {
		t.Errorf("summary: got %q, want %q", got, want)
	}
}

// The injection wraps the pod of the last check.
func TestCanaryIsInjected(t *testing.T) {
	for _, delivery := range []inject.Delivery{inject.DeliveryImage, inject.DeliveryInit} {
		injected, err := inject.Pod(inject.Model("ci", "signer"), inject.Options{
			SignerImage: "signer", Delivery: delivery, Step: settings.Default().Step(),
		})
		if err != nil {
			t.Errorf("%s: %v", delivery, err)
			continue
		}
		if injected.Spec.Containers[0].Command[0] == tekton.Entrypoint {
			t.Errorf("%s: the step still starts %s", delivery, tekton.Entrypoint)
		}
	}
}

// changed lists what a plan changes, one line each.
func changed(p Plan) string {
	var lines []string
	for _, c := range p.Changes {
		if c.Action != Unchanged {
			lines = append(lines, string(c.Action)+" "+object.Describe(c.Object))
		}
	}
	return strings.Join(lines, "\n")
}
