// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

func testOptions() Options {
	s := settings.Default()
	s.Backend = signing.BackendOIDCSAToken
	s.Tokens.Audience = "our-results"
	s.Scope.Names = []string{"cd", "ci"}
	s.Exempt = []settings.Account{{Namespace: "ci", Name: "vault"}, {Namespace: "cd", Name: "argo"}}
	return Options{
		TektonNamespace: "openshift-pipelines", TektonAccount: "the-controller",
		Registry: "reg.example/x", Version: "v1.2.3", Settings: s,
	}
}

func render(t *testing.T, o Options) []runtime.Object {
	t.Helper()
	objects, err := Render(o)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// find returns the rendered object of type T called name.
func find[T runtime.Object](t *testing.T, objects []runtime.Object, name string) T {
	t.Helper()
	for _, o := range objects {
		if obj, ok := o.(T); ok {
			if m, err := meta.Accessor(o); err == nil && m.GetName() == name {
				return obj
			}
		}
	}
	var none T
	t.Fatalf("no %T called %s", none, name)
	return none
}

func TestRenderNamespaces(t *testing.T) {
	for _, o := range render(t, testOptions()) {
		m, err := meta.Accessor(o)
		if err != nil {
			t.Fatal(err)
		}
		switch m.GetNamespace() {
		case "", Namespace, "openshift-pipelines":
		default:
			t.Errorf("%T %s is in namespace %s", o, m.GetName(), m.GetNamespace())
		}
	}
}

func TestRenderDeployment(t *testing.T) {
	d := find[*appsv1.Deployment](t, render(t, testOptions()), Controller)
	c := d.Spec.Template.Spec.Containers[0]
	if want := "reg.example/x/controller:v1.2.3"; c.Image != want {
		t.Errorf("image: got %s, want %s", c.Image, want)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	if got, want := env[EnvSignerImage], "reg.example/x/signer:v1.2.3"; got != want {
		t.Errorf("%s: got %s, want %s", EnvSignerImage, got, want)
	}
	if got, want := env[EnvTektonNamespace], "openshift-pipelines"; got != want {
		t.Errorf("%s: got %s, want %s", EnvTektonNamespace, got, want)
	}
	if got, want := env[EnvTektonAccount], "the-controller"; got != want {
		t.Errorf("%s: got %s, want %s", EnvTektonAccount, got, want)
	}
	if got := d.Labels[LabelVersion]; got != "v1.2.3" {
		t.Errorf("version label: got %q", got)
	}
}

func TestRenderSettings(t *testing.T) {
	cm := find[*corev1.ConfigMap](t, render(t, testOptions()), settings.ConfigMapName)
	got, err := settings.Parse(cm.Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(testOptions().Settings, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestRenderScope(t *testing.T) {
	objects := render(t, testOptions())
	want := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "kubernetes.io/metadata.name", Operator: "In", Values: []string{"cd", "ci"}},
		{Key: "kubernetes.io/metadata.name", Operator: "NotIn", Values: []string{
			"kube-system", "kube-public", "kube-node-lease", "tekton-sign", "openshift-pipelines",
			"openshift-pipelines-resolvers",
		}},
	}}
	binding := find[*admissionv1.ValidatingAdmissionPolicyBinding](t, objects, PodTokens)
	if diff := cmp.Diff(want, binding.Spec.MatchResources.NamespaceSelector); diff != "" {
		t.Errorf("%s (-want +got):\n%s", PodTokens, diff)
	}
	probe := find[*admissionv1.ValidatingAdmissionPolicyBinding](t, objects, PodTokensProbe)
	ours := &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": Namespace}}
	if diff := cmp.Diff(ours, probe.Spec.MatchResources.NamespaceSelector); diff != "" {
		t.Errorf("%s (-want +got):\n%s", PodTokensProbe, diff)
	}
}

// Of the two webhooks that differ only in their failure policy, exactly one applies to each namespace in scope.
func TestRenderWebhooks(t *testing.T) {
	label := func(name, mode string) labels.Set {
		l := labels.Set{"kubernetes.io/metadata.name": name}
		if mode != "" {
			l[settings.LabelEnforcement] = mode
		}
		return l
	}
	for _, tc := range []struct {
		global    settings.Enforcement
		namespace labels.Set
		want      admissionv1.FailurePolicyType // empty: not called
	}{
		{settings.Audit, label("ci", ""), admissionv1.Ignore},
		{settings.Audit, label("ci", "enforce"), admissionv1.Fail},
		{settings.Audit, label("ci", "audit"), admissionv1.Ignore},
		{settings.Audit, label("ci", "nonsense"), admissionv1.Ignore},
		{settings.Enforce, label("ci", ""), admissionv1.Fail},
		{settings.Enforce, label("ci", "enforce"), admissionv1.Fail},
		{settings.Enforce, label("ci", "audit"), admissionv1.Ignore},
		{settings.Enforce, label("ci", "nonsense"), admissionv1.Fail},
		{settings.Enforce, label("elsewhere", "enforce"), ""},
		{settings.Enforce, label("kube-system", "enforce"), ""},
	} {
		o := testOptions()
		o.Settings.Enforcement = tc.global
		objects := render(t, o)
		for _, name := range []string{InjectWebhook, StatusWebhook} {
			var got []admissionv1.FailurePolicyType
			for _, w := range find[*admissionv1.MutatingWebhookConfiguration](t, objects, name).Webhooks {
				selector, err := metav1.LabelSelectorAsSelector(w.NamespaceSelector)
				if err != nil {
					t.Fatal(err)
				}
				if selector.Matches(tc.namespace) {
					got = append(got, *w.FailurePolicy)
				}
			}
			var want []admissionv1.FailurePolicyType
			if tc.want != "" {
				want = append(want, tc.want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("global %s, namespace %v: %s is called with failure policies (-want +got):\n%s",
					tc.global, tc.namespace, name, diff)
			}
		}
	}
}

// The webhooks of both modes are called for the same writes. In audit nothing waits long for an add-on that does
// not answer.
func TestWebhooksDifferInPolicyOnly(t *testing.T) {
	auditTimeouts := map[string]int32{InjectWebhook: 3, StatusWebhook: 5}
	objects := render(t, testOptions())
	for _, name := range []string{InjectWebhook, StatusWebhook} {
		webhooks := find[*admissionv1.MutatingWebhookConfiguration](t, objects, name).Webhooks
		if len(webhooks) != 2 {
			t.Fatalf("%s: got %d webhooks, want 2", name, len(webhooks))
		}
		audit, enforce := webhooks[0], webhooks[1]
		if limit := auditTimeouts[name]; *audit.TimeoutSeconds != limit || *enforce.TimeoutSeconds <= limit {
			t.Errorf("%s: got timeouts of %d s in audit and %d s in enforce, want %d s and more",
				name, *audit.TimeoutSeconds, *enforce.TimeoutSeconds, limit)
		}
		audit.TimeoutSeconds = enforce.TimeoutSeconds
		audit.Name, audit.FailurePolicy = enforce.Name, enforce.FailurePolicy
		audit.NamespaceSelector = enforce.NamespaceSelector
		if diff := cmp.Diff(audit, enforce); diff != "" {
			t.Errorf("%s (-audit +enforce):\n%s", name, diff)
		}
	}
}

func TestRenderPolicies(t *testing.T) {
	p, err := RenderPolicies(testOptions())
	if err != nil {
		t.Fatal(err)
	}
	tokens := p.OfTokens()
	if len(tokens.Policies) != 4 || len(tokens.Bindings) != 5 || len(p.Policies) != 17 || len(p.Bindings) != 18 {
		t.Fatalf("got %d policies and %d bindings, of tokens %d and %d, want 16 and 17, of tokens 4 and 5",
			len(p.Policies), len(p.Bindings), len(tokens.Policies), len(tokens.Bindings))
	}
	for _, policy := range p.Policies {
		content, err := policy.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []string{signing.AudiencePrefix, stockNamespace, TektonAccount} {
			if strings.Contains(string(content), other) {
				t.Errorf("policy %s still has %s", policy.Name, other)
			}
		}
	}
	for _, binding := range p.Bindings {
		content, err := binding.Marshal()
		if err != nil || strings.Contains(string(content), stockNamespace) {
			t.Errorf("the binding of %s still has %s (%v)", binding.Name, stockNamespace, err)
		}
	}
	p = tokens
	conditions := p.Policies[1].Spec.MatchConditions
	got := conditions[len(conditions)-1].Expression
	want := "!(request.userInfo.username in ['system:serviceaccount:ci:vault', 'system:serviceaccount:cd:argo'])"
	if got != want {
		t.Errorf("exempt accounts:\ngot  %s\nwant %s", got, want)
	}
	if n := len(p.Policies[0].Spec.MatchConditions); n != 1 {
		t.Errorf("policy %s: got %d match conditions, want 1: nobody is exempt from it", SigningTokens, n)
	}
}

func lookup[T metav1.Object](objects []T) func(string) T {
	return func(name string) T {
		for _, o := range objects {
			if o.GetName() == name {
				return o
			}
		}
		var none T
		return none
	}
}

// TestSidecarLogsAreOptional: without the setting the add-on has no right to any log.
func TestSidecarLogsAreOptional(t *testing.T) {
	for on, want := range map[bool]int{false: 0, true: 1} {
		o := testOptions()
		o.Settings.SidecarLogs = on
		objects, err := Render(o)
		if err != nil {
			t.Fatal(err)
		}
		logs := 0
		for _, object := range objects {
			role, ok := object.(*rbacv1.ClusterRole)
			for i := 0; ok && i < len(role.Rules); i++ {
				if slices.Contains(role.Rules[i].Resources, "pods/log") {
					logs++
				}
			}
		}
		if logs != want {
			t.Errorf("read-sidecar-logs %v: %d rules on pods/log, want %d", on, logs, want)
		}
	}
}

// TestVolumeMountsAreOptional: the add-on may read the CSI drivers of nodes, and events, only with a backend whose
// volumes a CSI driver mounts.
func TestVolumeMountsAreOptional(t *testing.T) {
	for backend, want := range map[signing.Backend][]rbacv1.PolicyRule{
		signing.BackendOIDCSAToken: {},
		signing.BackendReceipt:     {},
		signing.BackendSPIRE: {
			{APIGroups: []string{"storage.k8s.io"}, Resources: []string{"csinodes"}, Verbs: []string{"get"}},
			{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"list"}},
		},
	} {
		o := testOptions()
		o.Settings.Backend = backend
		objects, err := Render(o)
		if err != nil {
			t.Fatal(err)
		}
		var got *rbacv1.ClusterRole
		for _, object := range objects {
			if role, ok := object.(*rbacv1.ClusterRole); ok && role.Name == VolumeMounts {
				got = role
			}
		}
		if got == nil {
			t.Fatalf("backend %s: there is no ClusterRole %s", backend, VolumeMounts)
		}
		if diff := cmp.Diff(want, got.Rules); diff != "" {
			t.Errorf("backend %s: rules (-want +got):\n%s", backend, diff)
		}
	}
}
