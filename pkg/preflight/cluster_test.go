// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"strings"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status/checks"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// factsOf returns a cluster with these objects, in which the namespaces ci and release are in scope.
func factsOf(t *testing.T, objects []runtime.Object, dynamic ...runtime.Object) (*Facts, *kubefake.Clientset) {
	t.Helper()
	kube := kubefake.NewClientset(objects...)
	s := settings.Default()
	s.Backend = signing.BackendOIDCSAToken
	lists := map[schema.GroupVersionResource]string{
		tasks: "TaskList", tektonConfigs: "TektonConfigList",
		{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}: "NetworkPolicyList",
	}
	c := &checks.Cluster{
		Clients: enable.Clients{
			Kube: kube, Dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, dynamic...),
		},
		Options: checks.Options{Program: "kubectl tekton-sign", Now: func() time.Time { return now }},
		Namespaces: checks.Namespaces{List: []checks.Namespace{
			{Name: "ci", InScope: true}, {Name: "other"},
			{Name: "release", InScope: true, Labels: map[string]string{settings.LabelEnforcement: "enforce"}},
		}},
	}
	c.Settings.Settings = s
	return &Facts{Cluster: c, Enable: "kubectl tekton-sign enable oidc-sa-token"}, kube
}

// said returns the state of a check, its messages and next steps.
func said(t *testing.T, f *Facts, run func(context.Context, *Facts) []status.Check) string {
	t.Helper()
	r := Check{ID: "TS001", Run: run}.result(t.Context(), f)
	parts := []string{string(r.State)}
	for _, found := range r.Findings {
		parts = append(parts, found.Message, found.Expected, found.Got, found.Next)
	}
	return strings.Join(parts, "\n")
}

func want(t *testing.T, what, got string, parts ...string) {
	t.Helper()
	for i, part := range parts {
		if i == 0 && !strings.HasPrefix(got, part) || !strings.Contains(got, part) {
			t.Errorf("%s: want %q, got %s", what, part, got)
		}
	}
}

func TestClock(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   time.Time
		want []string
	}{
		{"equal", now, []string{"passed"}},
		{"less than a second is lost", now.Add(-29 * time.Second), []string{"passed"}},
		{"the computer is ahead", now.Add(-2 * time.Minute), []string{"warning", "1m59s", "NTP"}},
		{"the computer is behind", now.Add(time.Hour), []string{"warning", "1h0m0s"}},
		{"no time", time.Time{}, []string{"passed", "does not report its time"}},
	} {
		f, kube := factsOf(t, nil)
		kube.PrependReactor("create", "selfsubjectreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, &authenticationv1.SelfSubjectReview{
				ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(tc.at)},
			}, nil
		})
		want(t, tc.name, said(t, f, checkClock), tc.want...)
	}
}

func node(name, os, arch, kubelet string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.NodeInfo = corev1.NodeSystemInfo{OperatingSystem: os, Architecture: arch, KubeletVersion: kubelet}
	return n
}

func TestNodes(t *testing.T) {
	good := node("a", "linux", "arm64", "v1.35.4")
	for _, tc := range []struct {
		name  string
		nodes []runtime.Object
		want  []string
	}{
		{"one", []runtime.Object{good}, []string{"passed", "nodes: 1"}},
		{"Windows too", []runtime.Object{good, node("w", "windows", "amd64", "v1.35.4")}, []string{"passed", "unsigned: w"}},
		{"Windows only", []runtime.Object{node("w", "windows", "amd64", "v1.35.4")}, []string{"failed", "no node can run"}},
		{"another platform", []runtime.Object{good, node("z", "linux", "s390x", "v1.35.4")}, []string{"warning", "s390x"}},
		{"an old kubelet", []runtime.Object{good, node("o", "linux", "amd64", "v1.27.9")}, []string{"warning", "v1.27.9"}},
		{"none", nil, []string{"failed"}},
	} {
		f, _ := factsOf(t, tc.nodes)
		want(t, tc.name, said(t, f, checkNodes), tc.want...)
	}
	f, kube := factsOf(t, nil)
	kube.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", nil)
	})
	want(t, "forbidden", said(t, f, checkNodes), "unknown", "you may not read the nodes")
}

func policy(namespace string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": map[string]any{"name": "p", "namespace": namespace}, "spec": spec,
	}}
}

func TestEgress(t *testing.T) {
	egress := []any{"Egress"}
	pods := func(label, value string) map[string]any {
		return map[string]any{"matchLabels": map[string]any{label: value}}
	}
	for _, tc := range []struct {
		name      string
		namespace string
		spec      map[string]any
		want      string
	}{
		{"none leaves", "ci", map[string]any{"podSelector": map[string]any{}, "policyTypes": egress}, "warning"},
		{"out of scope", "other", map[string]any{"podSelector": map[string]any{}, "policyTypes": egress}, "passed"},
		{"ingress only", "ci", map[string]any{"podSelector": map[string]any{}, "policyTypes": []any{"Ingress"}}, "passed"},
		{"other pods", "ci", map[string]any{"podSelector": pods("app", "web"), "policyTypes": egress}, "passed"},
		{
			"TaskRuns", "release", map[string]any{
				"podSelector": pods("app.kubernetes.io/managed-by", "tekton-pipelines"), "policyTypes": egress,
				"egress": []any{map[string]any{"to": []any{map[string]any{"ipBlock": map[string]any{"cidr": "10.0.0.0/8"}}}}},
			}, "warning",
		},
		{
			"everywhere", "ci", map[string]any{
				"podSelector": map[string]any{}, "policyTypes": egress, "egress": []any{map[string]any{}},
			}, "passed",
		},
	} {
		f, _ := factsOf(t, nil, policy(tc.namespace, tc.spec))
		want(t, tc.name, said(t, f, checkEgress), tc.want)
	}
}

func TestOperator(t *testing.T) {
	config := func(pruner map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "operator.tekton.dev/v1alpha1", "kind": "TektonConfig", "metadata": map[string]any{"name": "config"},
			"spec": map[string]any{"pruner": pruner},
		}}
	}
	f, _ := factsOf(t, nil)
	want(t, "none", said(t, f, checkOperator), "passed", "does not manage")
	f, _ = factsOf(t, nil, config(map[string]any{"disabled": true, "schedule": "0 8 * * *"}))
	got := said(t, f, checkOperator)
	want(t, "no pruner", got, "passed", "TektonConfig config")
	if strings.Contains(got, "pruner deletes") {
		t.Errorf("a pruner that is off: got %s", got)
	}
	f, _ = factsOf(t, nil, config(map[string]any{"schedule": "0 8 * * *"}))
	want(t, "a pruner", said(t, f, checkOperator), "passed", "pruner deletes finished TaskRuns (schedule 0 8 * * *)")
}

func TestTektonVersion(t *testing.T) {
	for version, state := range map[string]string{
		"v1.15.0": "passed", "v1.9.6": "passed", "1.12.2": "passed", "v1.8.9": "warning", "v0.62.0": "warning", "": "unknown",
		"devel": "warning",
	} {
		f, _ := factsOf(t, nil)
		f.Tekton.Controller.Version = version
		want(t, version, said(t, f, checkTektonVersion), state)
	}
}

func task(namespace, name string, steps int, more func(*v1.TaskSpec)) *unstructured.Unstructured {
	spec := v1.TaskSpec{}
	for range steps {
		spec.Steps = append(spec.Steps, v1.Step{Image: "busybox", Script: "true"})
	}
	if more != nil {
		more(&spec)
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1.Task{
		TypeMeta:   metav1.TypeMeta{APIVersion: "tekton.dev/v1", Kind: "Task"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec,
	})
	if err != nil {
		panic(err)
	}
	return &unstructured.Unstructured{Object: object}
}

// A Task whose steps have no room for evidence fails where results are enforced, unless receipts count.
func TestBudget(t *testing.T) {
	tokens := inject.TokenForm{Issuer: "https://kubernetes.default.svc.cluster.local", KeyID: 43, Signature: 342}
	for _, tc := range []struct {
		name   string
		task   *unstructured.Unstructured
		change func(*settings.Settings)
		want   []string
	}{
		{"a short one", task("ci", "short", 2, nil), nil, []string{"passed", "Tasks in scope: 1"}},
		{"a long one in audit", task("ci", "long", 12, nil), nil,
			[]string{"warning", "ci/long (12 steps)", "stay unsigned", "--receipts fallback"}},
		{"in enforce", task("release", "long", 12, nil), nil, []string{"failed", "release/long (12 steps)", "every TaskRun"}},
		{"out of scope", task("other", "long", 12, nil), nil, []string{"passed", "Tasks in scope: 0"}},
		{"sidecars count", task("ci", "sidecars", 2, func(s *v1.TaskSpec) { s.Sidecars = make([]v1.Sidecar, 8) }), nil,
			[]string{"warning", "ci/sidecars (2 steps)"}},
		{"receipts count", task("ci", "long", 12, nil), func(s *settings.Settings) { s.Receipts = settings.ReceiptsFallback },
			[]string{"passed", "verified by receipts: ci/long"}},
	} {
		f, _ := factsOf(t, nil, tc.task)
		s := f.Settings.Settings
		s.Receipts = settings.ReceiptsNever
		if tc.change != nil {
			tc.change(&s)
		}
		f.Settings.Settings = s
		options := f.injection(settings.DeliveryImage)
		options.SignerImage, options.Tokens = "signer", tokens
		got := said(t, f, func(ctx context.Context, f *Facts) []status.Check { return f.judgeTasks(ctx, options) })
		want(t, tc.name, got, tc.want...)
	}
}
