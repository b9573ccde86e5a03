// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testLabellersThreats takes a namespace out of enforcement, and out of signing, as somebody who may update namespaces.
func testLabellersThreats(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	user := "labeller-of-" + ns
	c.mustKubectl(t, "create", "clusterrole", user, "--verb=get,update,patch,create",
		"--resource=namespaces,namespaces/finalize,namespaces/status")
	t.Cleanup(func() {
		out := c.kubectlUntil(context.Background(), t, "", "delete", "clusterrole,clusterrolebinding", user)
		if out.code != 0 {
			t.Error(out)
		}
	})
	c.mustKubectl(t, "create", "clusterrolebinding", user, "--clusterrole="+user, "--user="+user)
	labeller := c.as(user)
	may := []string{policyMode, "only who may update ConfigMap config-signing in namespace tekton-pipelines may"}
	scope, _, _ := strings.Cut(selector, "=")
	labeller.cannot(t, may, "label", "namespace", ns, "tekton-sign.dev/enforcement-")
	labeller.cannot(t, may, "label", "namespace", ns, "--overwrite", "tekton-sign.dev/enforcement=audit")
	labeller.cannot(t, may, "label", "namespace", ns, scope+"-")
	labeller.cannot(t, may, "patch", "namespace", ns, "--subresource=status", "--type=merge", "-p",
		`{"metadata":{"labels":{"tekton-sign.dev/enforcement":null}}}`)
	labeller.cannotWith(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"`+ns+`-b","labels":{"tekton-`+
		`sign.dev/enforcement":"audit"}}}`,
		may, "create", "-f", "-")
	labeller.can(t, "label", "namespace", ns, "mine=yes")
	c.administrator().cannot(t, []string{policyMode, "expected audit or enforce, got off"}, "label", "namespace", ns,
		"--overwrite", "tekton-sign.dev/enforcement=off")
	got, err := c.kube.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
	if err != nil || got.Labels["tekton-sign.dev/enforcement"] != "enforce" || got.Labels["mine"] != "yes" {
		t.Errorf("the namespace has labels %v (%v)", got.Labels, err)
	}
}

// administrator acts with the tests' own rights.
func (c *cluster) administrator() actor { return actor{c: c} }

// testInstallationThreats edits the parts of the installation: as an editor of a namespace, and with nonsense as an
// administrator.
func testInstallationThreats(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	editor := c.editor(t, ns)
	for _, args := range [][]string{
		{"patch", "configmap", "config-signing", "-n", "tekton-pipelines", "-p", `{"data":{"signing-enforcement":"audit"}}`},
		{"patch", "configmap", "tekton-sign-trust-1", "-n", "tekton-sign", "-p", `{"data":{"x":"y"}}`},
		{"delete", "mutatingwebhookconfiguration", "tekton-sign-status"},
		{"delete", "validatingadmissionpolicybinding", "tekton-sign-taskrun-status"},
		{"delete", "deployment", "tekton-sign-controller", "-n", "tekton-sign"},
		{"create", "token", "controller", "-n", "tekton-sign"},
	} {
		editor.cannot(t, []string{"orbidden", "editor-of-"}, args...)
	}
	administrator := c.administrator()
	for data, want := range map[string]string{
		`{"signing-enforcement":"banana"}`: "key signing-enforcement: expected one of audit, enforce, " +
			"got 'banana'",
		`{"signing-enforcment":"enforce"}`:              "key signing-enforcment is not known to this version",
		`{"oidc-token-expiration-seconds":"86400"}`:     "expected 600 to 3600 seconds",
		`{"policies":"none"}`:                           "backend oidc-sa-token needs policies standard or strict",
		`{"signing-format":"v1","minimum-format":"v2"}`: "expected signing-format v2, or minimum-format v1",
		`{"namespaces":"ci"}`: "expected one of the keys namespaces and namespace-selector, " +
			"got both",
	} {
		administrator.cannot(t, []string{policySettings, want}, "patch", "configmap", "config-signing", "-n",
			"tekton-pipelines", "--type=merge", "-p", `{"data":`+data+`}`)
	}
}

// testModeChanges enforces everywhere by an edit of the settings, with kubectl, and goes back.
func testModeChanges(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	edit := func(ctx context.Context, mode string) {
		t.Helper()
		out := c.kubectlUntil(ctx, t, "", "patch", "configmap", "config-signing", "-n", "tekton-pipelines", "--type=merge",
			"-p", `{"data":{"signing-enforcement":"`+mode+`"}}`)
		if out.code != 0 {
			t.Fatal(out)
		}
	}
	before := c.addOnPods(t)
	forbidden := func(ctx context.Context) (bool, error) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a-pod"},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "b"}}}}
		_, err := c.kube.CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{})
		switch {
		case apierrors.IsForbidden(err) && strings.Contains(err.Error(), policyPods):
			return true, nil
		case err == nil:
			return false, c.kube.CoreV1().Pods(ns).Delete(ctx, pod.Name, *metav1.NewDeleteOptions(0))
		case apierrors.IsAlreadyExists(err):
			return false, nil
		}
		return false, err
	}
	edit(t.Context(), "enforce")
	t.Cleanup(func() { edit(context.Background(), "audit") })
	c.eventually(t, "the strict policies in a namespace without a label", forbidden)
	wantEnforced(t, c.finish(t, ns, withoutToken(fixture(t, "results"))), "UNSIGNED: no-credential")

	out := c.kubectl(t, enableArgs("--yes")...)
	if out.code != 0 || !strings.Contains(out.stdout, "Nothing to change.") ||
		!strings.Contains(out.stderr, "oidc-sa-token, enforce") {
		t.Errorf("enable without --enforcement: want enforce to stay, and nothing to change: %s", out)
	}

	edit(t.Context(), "audit")
	tr := withoutToken(fixture(t, "results"))
	tr.Name = "audited"
	wantSucceeded(t, c.finish(t, ns, tr))
	c.eventually(t, "the strict policies to leave the namespace", func(ctx context.Context) (bool, error) {
		refused, err := forbidden(ctx)
		return !refused, err
	})
	if after := c.addOnPods(t); after != before {
		t.Errorf("pods of the add-on: before %s, after %s", before, after)
	}
}

// addOnPods returns the UIDs and restarts of the add-on's pods.
func (c *cluster) addOnPods(t *testing.T) string {
	t.Helper()
	return c.mustKubectl(t, "get", "pods", "-n", "tekton-sign", "--sort-by=.metadata.name",
		"-o", "jsonpath={range .items[*]}{.metadata.uid}{.status.containerStatuses[0].restartCount} {end}")
}
