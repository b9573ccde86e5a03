// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNightlyClusters turns signing on and off in clusters that are not as the usual one: what could break is named
// before it breaks, and what is the user's stays.
func TestNightlyClusters(t *testing.T) {
	c := open(t)
	t.Run("Tekton's controller is a StatefulSet", func(t *testing.T) { testStatefulController(t, c) })
	t.Run("the plan names who loses the right to tokens", func(t *testing.T) { testRightsNamed(t, c) })
	t.Run("a second controller of Tekton", func(t *testing.T) { testSecondController(t, c) })
	t.Run("the user's settings come back", func(t *testing.T) { testUsersSettings(t, c) })
	t.Run("rendered manifests leave nothing", func(t *testing.T) { testRenderedManifests(t, c) })
	t.Run("settings that cannot be read", func(t *testing.T) { testUnreadSettings(t, c) })
	t.Run("port 8443 is closed", func(t *testing.T) { testClosedPort(t, c) })
}

// controllerTemplate is that of a controller of Tekton, of which no pod will ever run.
func controllerTemplate(args ...string) (map[string]string, corev1.PodTemplateSpec) {
	labels := map[string]string{"app.kubernetes.io/component": "controller",
		"app.kubernetes.io/part-of": "tekton-pipelines", "e2e": "controller"}
	return labels, corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"e2e": "controller"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "default", NodeSelector: map[string]string{"e2e": "nowhere"},
			Containers: []corev1.Container{{Name: "controller", Image: "tekton-sign.invalid/controller", Args: args}},
		},
	}
}

func testStatefulController(t *testing.T, c *cluster) {
	ns := c.namespaceWith(t, nil)
	labels, template := controllerTemplate()
	_, err := c.kube.AppsV1().StatefulSets(ns).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "tekton-pipelines-controller", Labels: labels},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(0)), ServiceName: "x", Template: template,
			Selector: &metav1.LabelSelector{MatchLabels: template.Labels},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if out := c.kubectl(t, enableArgs("--tekton-namespace", ns, "--dry-run=client")...); out.code != 0 ||
		!strings.Contains(out.stderr, "in namespace "+ns) {
		t.Errorf("want a plan for namespace %s: %s", ns, out)
	}
	// One that is scaled to 0 makes the choice of the other no harder.
	if out := c.kubectl(t, enableArgs("--dry-run=client")...); out.code != 0 ||
		!strings.Contains(out.stderr, "in namespace tekton-pipelines") {
		t.Errorf("want a plan for the controller that runs: %s", out)
	}
}

func testRightsNamed(t *testing.T, c *cluster) {
	key, value, _ := strings.Cut(selector, "=")
	ns := c.namespaceWith(t, map[string]string{key: value})
	outside := c.namespaceWith(t, nil)
	rbac := c.kube.RbacV1()
	if _, err := rbac.Roles(ns).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "op"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"},
			Verbs: []string{"create"}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rbac.RoleBindings(ns).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "op"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role",
			Name: "op"},
		Subjects: []rbacv1.Subject{
			{Kind: "ServiceAccount", Namespace: ns, Name: "op"}, {Kind: "ServiceAccount", Namespace: outside, Name: "csi"},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	out := c.kubectl(t, enableArgs("--dry-run=server")...)
	for _, want := range []string{ns + "/op", outside + "/csi", "--exempt-service-account"} {
		if out.code != 0 || !strings.Contains(out.stderr, want) {
			t.Errorf("the plan does not name %q: %s", want, out)
		}
	}
	out = c.kubectl(t, enableArgs("--dry-run=server", "--exempt-service-account", ns+"/op,"+outside+"/csi")...)
	if out.code != 0 || strings.Contains(out.stderr, ns+"/op") || strings.Contains(out.stderr, outside+"/csi") {
		t.Errorf("want accounts that keep their right not to be named: %s", out)
	}
}

func testSecondController(t *testing.T, c *cluster) {
	tenant, other := c.namespaceWith(t, nil), c.namespaceWith(t, nil)
	labels, template := controllerTemplate("-namespace", tenant)
	_, err := c.kube.AppsV1().Deployments(tenant).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "tenants-controller", Labels: labels},
		Spec:       appsv1.DeploymentSpec{Template: template, Selector: &metav1.LabelSelector{MatchLabels: template.Labels}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { // at once, and not with its namespace: the next test would have to choose, too
		err := c.kube.AppsV1().Deployments(tenant).Delete(context.Background(), "tenants-controller", metav1.DeleteOptions{})
		if err != nil {
			t.Error(err)
		}
	}()
	enable := func(more ...string) output {
		return c.kubectl(t, append([]string{"tekton-sign", "enable", "oidc-sa-token"}, more...)...)
	}
	name := "Deployment " + tenant + "/tenants-controller"
	if out := enable("--yes"); out.code != 1 || !strings.Contains(out.stderr, name) ||
		!strings.Contains(out.stderr, "--tekton-namespace") {
		t.Errorf("want a choice of one of two: %s", out)
	}
	out := enable("--tekton-namespace", "tekton-pipelines", "--namespaces", tenant, "--yes")
	if out.code != 1 || !strings.Contains(out.stderr, name) || !strings.Contains(out.stderr, "nothing was changed") {
		t.Errorf("want the second controller refused by name: %s", out)
	}
	out = enable("--tekton-namespace=tekton-pipelines", "--namespaces="+other, "--yes")
	defer c.mustKubectl(t, "tekton-sign", "disable", "--purge", "--yes")
	if out.code != 0 {
		t.Fatalf("where the second controller runs nothing: %s", out)
	}
	c.untilHealthy(t, nil)
	c.wantStatus(t, nil, 0, name)
}

func testUsersSettings(t *testing.T, c *cluster) {
	maps := c.kube.CoreV1().ConfigMaps("tekton-pipelines")
	mine := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "config-signing"},
		Data:       map[string]string{"enforce-nonfalsifiability": "none", "delivery": "init", "_example": "mine"},
	}
	if _, err := maps.Create(t.Context(), mine, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := maps.Delete(context.Background(), mine.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("the user's ConfigMap: %v", err)
		}
	})
	for range 3 {
		c.mustKubectl(t, enableArgs("--yes")...)
		for _, purge := range []string{"--purge=false", "--purge"} {
			c.mustKubectl(t, "tekton-sign", "disable", "--yes", purge)
			got, err := maps.Get(t.Context(), mine.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatalf("after disable %s: %v", purge, err)
			}
			if diff := cmp.Diff(mine.Data, got.Data); diff != "" || len(got.Annotations)+len(got.Labels) > 0 {
				t.Fatalf("after disable %s: annotations %v, labels %v, data (-before +after):\n%s", purge, got.Annotations,
					got.Labels, diff)
			}
		}
	}
}

func testRenderedManifests(t *testing.T, c *cluster) {
	manifests := c.mustKubectl(t, enableArgs("--dry-run=client", "-o", "yaml")...)
	if out := c.kubectlWithInput(t, manifests, "apply", "-f", "-"); out.code != 0 {
		t.Fatalf("applying the manifests: %s", out)
	}
	c.mustKubectl(t, enableArgs("--yes")...)
	folder := filepath.Join(t.TempDir(), "rendered")
	c.mustKubectl(t, enableArgs("--render", folder)...)
	for range 2 {
		c.mustKubectl(t, "apply", "-k", folder)
		c.untilHealthy(t, nil)
	}
	tr := c.finish(t, c.namespace(t, true), fixture(t, "results"))
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	c.mustKubectl(t, "tekton-sign", "disable", "--purge", "--yes")
	c.wantStatus(t, nil, 3, "OFF: signing is off")
	_, err := c.kube.CoreV1().ConfigMaps("tekton-pipelines").Get(t.Context(), "config-signing", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the settings of our own manifests stay: %v", err)
	}
}

func testUnreadSettings(t *testing.T, c *cluster) {
	maps := c.kube.CoreV1().ConfigMaps("tekton-pipelines")
	broken := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "config-signing"},
		Data:       map[string]string{"signing-enforcement": "enforce", "oidc-token-expiration-seconds": "soon"},
	}
	if _, err := maps.Create(t.Context(), broken, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := maps.Delete(context.Background(), broken.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}()
	out := c.kubectl(t, enableArgs("--yes")...)
	for _, want := range []string{"--enforcement", "--policies", `signing-enforcement: "enforce"`} {
		if out.code != 1 || !strings.Contains(out.stderr, want) {
			t.Errorf("want a refusal with %q: %s", want, out)
		}
	}
}

// testClosedPort drops what the API server sends to the port of the webhooks, as a firewall between control plane
// and nodes does.
func testClosedPort(t *testing.T, c *cluster) {
	c.enable(t)
	c.namespace(t, true)
	c.untilHealthy(t, nil)
	c.mustKubectl(t, "delete", "mutatingwebhookconfiguration", "-l", partOf)
	open := closePort(t)
	out := c.kubectl(t, enableArgs("--yes", "--timeout=60s")...)
	if out.code == 0 || !strings.Contains(out.stderr, "port 8443") || !strings.Contains(out.stderr, "firewall") {
		t.Errorf("want the port and the firewall named: %s", out)
	}
	left, err := c.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(t.Context(),
		metav1.ListOptions{LabelSelector: partOf})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("%d webhook configurations are left, %v: every TaskRun waits for them", len(left.Items), err)
	}
	c.wantStatus(t, nil, 4, "port 8443")
	open()
	c.mustKubectl(t, enableArgs("--yes")...)
	c.untilHealthy(t, nil)
}

// closePort drops what the control plane sends to port 8443 of any pod, until open is called.
func closePort(t *testing.T) (open func()) {
	t.Helper()
	firewall := func(change string) {
		out, err := inLab(t, "iptables", "--wait", change, "OUTPUT", "--protocol", "tcp", "--dport", "8443", "--jump", "DROP")
		if err != nil {
			t.Errorf("iptables %s: %v: %s", change, err, out)
		}
	}
	firewall("--append")
	open = sync.OnceFunc(func() { firewall("--delete") })
	t.Cleanup(open)
	return open
}
