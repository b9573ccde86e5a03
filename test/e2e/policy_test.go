// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// signingAudience is a well-formed audience of a signing token.
var signingAudience = "tekton-result-signing:p:" + strings.Repeat("A", 43)

// testPolicies tries to obtain signing tokens for the pod of a TaskRun in every way a namespace editor has.
func testPolicies(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	tr := c.watchUntil(t, c.start(t, ns, fixture(t, "cancelled")), "runs", func(tr *pipelinev1.TaskRun) bool {
		return len(tr.Status.Steps) == 2 && tr.Status.Steps[1].Running != nil
	})
	t.Cleanup(func() { c.cancel(t, tr) })
	victim := c.pod(t, ns, tr.Status.PodName)
	editor := c.makeEditor(t, ns)
	other := c.sleepingPod(t, ns)

	account := "system:serviceaccount:" + ns + ":default"
	asPod := func(pod *corev1.Pod) rest.ImpersonationConfig {
		return rest.ImpersonationConfig{
			UserName: account,
			UID:      "x",
			Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"},
			Extra: map[string][]string{
				"authentication.kubernetes.io/pod-name": {pod.Name},
				"authentication.kubernetes.io/pod-uid":  {string(pod.UID)},
			},
		}
	}
	asVictim := c.clientWithToken(t, c.podToken(t, ns, victim.Name, "step-slow"))
	asOther := c.clientWithToken(t, c.podToken(t, ns, other.Name, "main"))

	for _, tc := range []struct {
		name    string
		client  kubernetes.Interface
		request authenticationv1.TokenRequestSpec
		allowed bool
	}{
		{"the pod itself", asVictim, tokenSpec(victim, signingAudience), true},
		{"the pod itself, with a token that lives too long", asVictim, lifetime(tokenSpec(victim, signingAudience), 3600),
			false},
		{"the pod itself, unbound", asVictim, unbound(tokenSpec(victim, signingAudience)), false},
		{"the pod itself, with two audiences", asVictim, tokenSpec(victim, signingAudience, "other"), false},
		{"the pod itself, with the fixed audience", asVictim, tokenSpec(victim, "tekton-result-signing"), false},
		{"the pod itself, with an audience of another length", asVictim, tokenSpec(victim, signingAudience+"A"), false},
		{"the pod itself, for an API token", asVictim, tokenSpec(victim), false},
		{"another pod of the same service account", asOther, tokenSpec(victim, signingAudience), false},
		{"the other pod, for itself", asOther, tokenSpec(other, signingAudience), true},
		{"an editor", c.clientWithToken(t, editor), tokenSpec(victim, signingAudience), false},
		{"an editor, for an ordinary token", c.clientWithToken(t, editor), unbound(tokenSpec(victim)), true},
		{"an editor who impersonates the service account",
			c.impersonator(t, editor, rest.ImpersonationConfig{UserName: account}), tokenSpec(victim, signingAudience), false},
		{"an editor who impersonates the pod", c.impersonator(t, editor, asPod(victim)), tokenSpec(victim, signingAudience),
			false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.client.CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), "default",
				&authenticationv1.TokenRequest{Spec: tc.request}, metav1.CreateOptions{})
			if (err == nil) != tc.allowed {
				t.Errorf("want allowed=%v, got %v", tc.allowed, err)
			}
			if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
				t.Errorf("want a refusal, got %v", err)
			}
		})
	}
}

func tokenSpec(pod *corev1.Pod, audiences ...string) authenticationv1.TokenRequestSpec {
	seconds := int64(600)
	return authenticationv1.TokenRequestSpec{
		Audiences:         audiences,
		ExpirationSeconds: &seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name,
			UID: pod.UID},
	}
}

func lifetime(spec authenticationv1.TokenRequestSpec, seconds int64) authenticationv1.TokenRequestSpec {
	spec.ExpirationSeconds = &seconds
	return spec
}

func unbound(spec authenticationv1.TokenRequestSpec) authenticationv1.TokenRequestSpec {
	spec.BoundObjectRef = nil
	return spec
}

// makeEditor gives the built-in role edit to an account of another namespace and returns the account's token.
func (c *cluster) makeEditor(t *testing.T, ns string) string {
	t.Helper()
	home := c.namespace(t, false)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "editor"}}
	if _, err := c.kube.CoreV1().ServiceAccounts(home).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "editor", Namespace: ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "editor", Namespace: home}},
	}
	if _, err := c.kube.RbacV1().RoleBindings(ns).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := c.kube.CoreV1().ServiceAccounts(home).CreateToken(t.Context(), "editor",
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// impersonator acts with a token, as somebody else.
func (c *cluster) impersonator(t *testing.T, token string, as rest.ImpersonationConfig) kubernetes.Interface {
	t.Helper()
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = token
	config.Impersonate = as
	return kubernetes.NewForConfigOrDie(config)
}

func (c *cluster) clientWithToken(t *testing.T, token string) kubernetes.Interface {
	t.Helper()
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = token
	return kubernetes.NewForConfigOrDie(config)
}

// podToken reads the service account token in a container.
func (c *cluster) podToken(t *testing.T, ns, pod, container string) string {
	t.Helper()
	return c.mustKubectl(t, "exec", "-n", ns, pod, "-c", container, "--",
		"cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")
}

func (c *cluster) pod(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	pod, err := c.kube.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// sleepingPod starts an ordinary pod of the default service account and waits until it runs.
func (c *cluster) sleepingPod(t *testing.T, ns string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "ordinary"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: "docker.io/library/busybox:1.36", Command: []string{"sleep", "600"},
		}}},
	}
	if _, err := c.kube.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.mustKubectl(t, "wait", "-n", ns, "pod/ordinary", "--for=condition=Ready", "--timeout=120s")
	return c.pod(t, ns, "ordinary")
}
