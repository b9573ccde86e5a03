// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// installation returns the objects of a cluster in which the add-on serves namespace ci, except one that is left out.
func installation(without string) []runtime.Object {
	name := func(kind, name string, labels map[string]string) metav1.ObjectMeta {
		m := metav1.ObjectMeta{Name: name, Labels: labels}
		if kind == "namespaced" {
			m.Namespace = manifests.Namespace
		}
		return m
	}
	selectors := manifests.WebhookSelectors(testRequest().Settings, testEnvironment.TektonNamespace)
	webhook := func(n string) *admissionv1.MutatingWebhookConfiguration {
		w := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: name("", n, nil)}
		w.Webhooks = []admissionv1.MutatingWebhook{{
			Name: manifests.InjectAudit, ClientConfig: admissionv1.WebhookClientConfig{CABundle: []byte("ca")},
			NamespaceSelector: selectors[manifests.InjectAudit],
		}}
		switch without {
		case "authority":
			w.Webhooks[0].ClientConfig.CABundle = nil
		case "namespaces":
			w.Webhooks[0].NamespaceSelector = &metav1.LabelSelector{}
		}
		return w
	}
	deployment := &appsv1.Deployment{ObjectMeta: name("namespaced", manifests.Controller, nil)}
	if without != "deployment" {
		deployment.Status = appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}
	}
	keeper := &appsv1.Deployment{
		ObjectMeta: name("namespaced", manifests.Keeper, nil),
		Status:     appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1},
	}
	objects := []runtime.Object{
		deployment, keeper, webhook(manifests.InjectWebhook), webhook(manifests.StatusWebhook),
		webhook(manifests.ConsumersWebhook), webhook(manifests.ChainsGate),
		&corev1.Namespace{ObjectMeta: name("", "ci", map[string]string{"kubernetes.io/metadata.name": "ci"})},
		&corev1.Namespace{ObjectMeta: name("", "kube-system",
			map[string]string{"kubernetes.io/metadata.name": "kube-system"})},
		&corev1.Pod{
			ObjectMeta: name("namespaced", "pod", map[string]string{manifests.LabelPartOf: manifests.PartOf}),
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
				State: corev1.ContainerState{
					Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such host"},
				},
			}}},
		},
	}
	if without != "grant" {
		objects = append(objects, enabletest.Grant("ci"))
	}
	return objects
}

// injecting makes pods come back wrapped, by an add-on with these settings.
func (c *fakeCluster) injecting(s settings.Settings) {
	c.kube.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		create, _ := a.(clienttesting.CreateActionImpl)
		pod, _ := create.Object.(*corev1.Pod)
		if len(create.CreateOptions.DryRun) == 0 {
			return true, nil, fmt.Errorf("the canary was created for good")
		}
		injected, err := inject.Pod(pod, inject.Options{SignerImage: "signer", Delivery: inject.DeliveryInit, Step: s.Step()})
		return true, injected, err
	})
}

func TestApply(t *testing.T) {
	c := newFakeCluster(t, installation("")...)
	c.injecting(testRequest().Settings)
	var said []string
	tell := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if err := planEnable(t, c, testRequest()).Apply(t.Context(), c.Clients, time.Minute, tell); err != nil {
		t.Fatal(err)
	}
	inOrder(t, c.writes, "Namespace "+manifests.Namespace, "ServiceAccount", "ClusterRole "+manifests.Controller,
		"ValidatingAdmissionPolicyBinding "+manifests.SigningTokens,
		"ValidatingAdmissionPolicyBinding "+manifests.PodTokensProbe,
		"Deployment", "ConfigMap", "MutatingWebhookConfiguration "+manifests.InjectWebhook)
	inOrder(t, said, "created ConfigMap", "the add-on is available", "every namespace in scope has its grant",
		"created MutatingWebhookConfiguration", "certificate authority", "comes back with the signer")
}

// Each case leaves out one thing. Without a running add-on or a grant there must be no webhook.
func TestApplyWaits(t *testing.T) {
	const noAnswer = `failed calling webhook "inject-enforce.tekton-sign.dev": context deadline exceeded`
	for without, want := range map[string]struct {
		err      string
		webhooks bool
	}{
		"deployment": {"the add-on is available: ErrImagePull: no such host", false},
		"grant":      {"1 of 1 namespaces lack RoleBinding", false},
		"authority":  {manifests.InjectWebhook + " has no certificate authority", true},
		"namespaces": {manifests.InjectAudit + " is not for the namespaces", true},
		"injection":  {"the pod comes back unchanged; if that lasts, let the API server reach TCP port 8443", true},
		"port": {
			"does not reach the add-on on port 8443: error trying to reach service: " +
				"dial tcp 10.0.0.9:8443: i/o timeout; let the API server", true,
		},
		"the call": {"could not call the webhook: Internal error occurred: " + noAnswer + "; let", true},
		"settings": {"the pod's signer still has the settings from before", true},
	} {
		t.Run(without, func(t *testing.T) {
			c := newFakeCluster(t, installation(without)...)
			old := testRequest().Settings
			if without == "settings" {
				old.Binding = "key"
			}
			switch without {
			case "injection":
			case "port":
				c.reachable(enabletest.PortClosed("dial tcp 10.0.0.9:8443: i/o timeout"))
			case "the call":
				c.kube.PrependReactor("create", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
					return true, nil, apierrors.NewInternalError(errors.New(noAnswer))
				})
			default:
				c.injecting(old)
			}
			err := planEnable(t, c, testRequest()).Apply(t.Context(), c.Clients, 30*time.Millisecond, silent)
			if !matches(err, want.err) || !matches(err, "run the command again") {
				t.Errorf("got %v, want an error with %q and the next step", err, want.err)
			}
			got := slices.ContainsFunc(c.writes, func(w string) bool { return strings.Contains(w, "MutatingWebhook") })
			if got != want.webhooks {
				t.Errorf("webhooks applied: got %v, want %v", got, want.webhooks)
			}
			left, err := c.dynamic.Resource(webhookConfigurations).List(t.Context(), metav1.ListOptions{})
			if err != nil || len(left.Items) > 0 {
				t.Errorf("%d webhook configurations were left, %v: every TaskRun would wait for them", len(left.Items), err)
			}
		})
	}
}

// Webhooks that were there before stay: where results are enforced, nothing may run without them.
func TestApplyKeepsWebhooks(t *testing.T) {
	c := newFakeCluster(t, installation("")...)
	install(t, c, planEnable(t, c, testRequest()))
	c.sync(t)
	c.injecting(testRequest().Settings)
	stronger := testRequest()
	stronger.Settings.Enforcement = settings.Enforce
	c.reachable(enabletest.PortClosed("no route to host"))
	err := planEnable(t, c, stronger).Apply(t.Context(), c.Clients, 30*time.Millisecond, silent)
	if !matches(err, "stay") || !matches(err, "kubectl delete mutatingwebhookconfiguration "+manifests.InjectWebhook) {
		t.Errorf("got %v, want it to say that the webhooks stay, and how to delete them", err)
	}
	left, err := c.dynamic.Resource(webhookConfigurations).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != len(manifests.WebhookConfigurations()) {
		t.Errorf("%d webhook configurations are left, %v; want all of them", len(left.Items), err)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	c := newFakeCluster(t)
	var said []string
	tell := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if err := planEnable(t, c, testRequest()).DryRun(t.Context(), c.Clients, tell); err != nil {
		t.Fatal(err)
	}
	if len(c.writes) > 0 {
		t.Errorf("a dry run has written: %v", c.writes)
	}
	inOrder(t, said, "created Namespace tekton-sign (server dry run)", "not tried: ServiceAccount")
}

func TestFindTektonNamespace(t *testing.T) {
	settingsIn := func(namespace string) *corev1.ConfigMap {
		cm := configMap(map[string]string{}, nil)
		cm.Namespace = namespace
		return cm
	}
	for name, tc := range map[string]struct {
		objects []runtime.Object
		install bool
		want    string
	}{
		"by our Role":         {nil, true, testEnvironment.TektonNamespace},
		"by Tekton's labels":  {[]runtime.Object{enabletest.TektonController("a"), settingsIn("a")}, false, "a"},
		"Tekton, no settings": {[]runtime.Object{enabletest.TektonController("a")}, false, ""},
		"the one with ours": {
			[]runtime.Object{enabletest.TektonController("a"), enabletest.TektonController("b"), settingsIn("b")}, false, "b",
		},
		"nothing in a cluster": {nil, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, tc.objects...)
			if tc.install {
				install(t, c, planEnable(t, c, testRequest()))
			}
			got, err := FindTektonNamespace(context.Background(), c.Clients)
			if err != nil || got != tc.want {
				t.Errorf("got %q and %v, want %q", got, err, tc.want)
			}
		})
	}
}

// inOrder wants each of parts in a line of its own, in this order.
func inOrder(t *testing.T, lines []string, parts ...string) {
	t.Helper()
	at := 0
	for _, part := range parts {
		i := slices.IndexFunc(lines[at:], func(l string) bool { return strings.Contains(l, part) })
		if i < 0 {
			t.Fatalf("expected %q after line %d of:\n%s", part, at, strings.Join(lines, "\n"))
		}
		at += i + 1
	}
}

// The add-on has changed the configuration after the plan was made. It is updated all the same, and keeps its
// certificate authority.
func TestMakeWebhooks(t *testing.T) {
	c := newFakeCluster(t)
	install(t, c, planEnable(t, c, testRequest()))
	c.sync(t)
	narrower := testRequest()
	narrower.Settings.Scope.Names = []string{"ci"}
	conflicts := 0
	c.dynamic.PrependReactor("update", "mutatingwebhookconfigurations",
		func(a clienttesting.Action) (bool, runtime.Object, error) {
			update := a.(clienttesting.UpdateActionImpl) //nolint:forcetypeassert // the reactor's verb
			if conflicts++; len(update.UpdateOptions.DryRun) > 0 || conflicts > 2 {
				return false, nil, nil
			}
			return true, nil, apierrors.NewConflict(update.Resource.GroupResource(), manifests.StatusWebhook,
				errors.New("modified"))
		})
	for _, change := range planEnable(t, c, narrower).Changes {
		if change.Object.GetName() != manifests.StatusWebhook {
			continue
		}
		conflicts = 0
		if err := (writer{Clients: c.Clients, progress: silent}).makeWebhooks(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := c.dynamic.Resource(webhookConfigurations).Get(t.Context(), manifests.StatusWebhook, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := object.Authority(stored); conflicts != 3 || got != "Y2E=" {
		t.Errorf("after %d attempts the authority is %q, want 3 and that of the add-on", conflicts, got)
	}
	if text := fmt.Sprint(object.Webhooks(stored)[0]["namespaceSelector"]); !strings.Contains(text, "[ci]") {
		t.Errorf("the namespaces are %s, want ci", text)
	}
}
