// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// partOf selects the objects that enable made.
const partOf = "app.kubernetes.io/part-of=tekton-sign"

// TestAddOn turns signing on, runs everything that wants it on, and turns it off again. The order is part of the test.
func TestAddOn(t *testing.T) {
	c := open(t)
	before := c.snapshot(t)

	t.Run("a dry run changes nothing", func(t *testing.T) { testDryRun(t, c, before) })
	t.Run("enable without consent changes nothing", func(t *testing.T) {
		out := c.kubectl(t, "tekton-sign", "enable", "oidc-sa-token")
		if out.code != 1 || !strings.Contains(out.stderr, "--yes") {
			t.Errorf("want exit code 1 and a hint at --yes: %s", out)
		}
		wantSame(t, before, c.snapshot(t))
	})
	if !t.Run("enable", func(t *testing.T) { testEnable(t, c) }) {
		t.FailNow()
	}
	t.Run("enable again is a no-op", func(t *testing.T) { testEnableAgain(t, c) })

	// What runs in parallel below has its own namespace; the group ends when all of it has.
	t.Run("on", func(t *testing.T) {
		t.Run("same outcome", func(t *testing.T) { t.Parallel(); testSameOutcome(t, c) })
		t.Run("long names", func(t *testing.T) { t.Parallel(); testLongNames(t, c) })
		t.Run("verify", func(t *testing.T) { t.Parallel(); testVerify(t, c) })
		t.Run("selftest", func(t *testing.T) { t.Parallel(); testSelftest(t, c) })
		t.Run("verify says what is wrong", func(t *testing.T) { t.Parallel(); testVerifyErrors(t, c) })
		t.Run("tampered status", func(t *testing.T) { t.Parallel(); testTamperedStatus(t, c) })
		t.Run("replaced pod", func(t *testing.T) { t.Parallel(); testReplacedPod(t, c) })
		t.Run("policies", func(t *testing.T) { t.Parallel(); testPolicies(t, c) })
		t.Run("unsigned with a reason", func(t *testing.T) { t.Parallel(); testUnsigned(t, c) })
		t.Run("cancelled as fast", func(t *testing.T) { t.Parallel(); testCancelSpeed(t, c) })
	})

	t.Run("delivery", func(t *testing.T) { testDelivery(t, c) })
	t.Run("drifted policy withdraws the grant", func(t *testing.T) { testDrift(t, c) })
	t.Run("disable", func(t *testing.T) {
		out := c.kubectl(t, "tekton-sign", "disable", "--purge", "--yes")
		if out.code != 0 {
			t.Fatalf("disable: %s", out)
		}
		wantSame(t, before, c.snapshot(t))
	})
	t.Run("disable again is a no-op", func(t *testing.T) {
		if out := c.kubectl(t, "tekton-sign", "disable", "--purge", "--yes"); out.code != 0 {
			t.Fatalf("disable: %s", out)
		}
		wantSame(t, before, c.snapshot(t))
	})
}

// enableArgs turn signing in pods on, without receipts: what steps cannot sign is to be UNSIGNED. TestReceipts has
// the receipts.
func enableArgs(more ...string) []string {
	return append([]string{"tekton-sign", "enable", "oidc-sa-token", "--receipts", "never", "--namespace-selector",
		selector}, more...)
}

func testDryRun(t *testing.T, c *cluster, before map[string]string) {
	for _, mode := range []string{"client", "server"} {
		out := c.kubectl(t, enableArgs("--dry-run="+mode)...)
		if out.code != 0 {
			t.Errorf("--dry-run=%s: %s", mode, out)
		}
		for _, want := range []string{"create", "Deployment", "enforce-nonfalsifiability", "oidc-sa-token"} {
			if !strings.Contains(out.stdout+out.stderr, want) {
				t.Errorf("--dry-run=%s does not mention %q: %s", mode, want, out)
			}
		}
		wantSame(t, before, c.snapshot(t))
	}
}

func testEnable(t *testing.T, c *cluster) {
	out := c.kubectl(t, enableArgs("--yes")...)
	if out.code != 0 {
		t.Fatalf("enable: %s", out)
	}
	settings, err := c.kube.CoreV1().ConfigMaps("tekton-pipelines").Get(t.Context(), "config-signing", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"enforce-nonfalsifiability": "oidc-sa-token",
		"signing-enforcement": "audit"} {
		if got := settings.Data[key]; got != want {
			t.Errorf("config-signing has %s=%q, want %q", key, got, want)
		}
	}
	deployments, err := c.kube.AppsV1().Deployments("tekton-sign").List(t.Context(),
		metav1.ListOptions{LabelSelector: partOf})
	if err != nil || len(deployments.Items) != 2 {
		t.Fatalf("want the Deployments of the webhooks and of the keeper in tekton-sign, got %d, %v", len(deployments.Items),
			err)
	}
	for _, d := range deployments.Items {
		if d.Status.AvailableReplicas != *d.Spec.Replicas {
			t.Errorf("enable came back with %d of %d replicas of %s available", d.Status.AvailableReplicas, *d.Spec.Replicas,
				d.Name)
		}
	}
}

func testEnableAgain(t *testing.T, c *cluster) {
	versions := func() map[string]string {
		list, err := c.kube.AppsV1().Deployments("tekton-sign").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, d := range list.Items {
			got["deployment "+d.Name] = string(d.UID) + " " + d.ResourceVersion
		}
		policies, err := c.kube.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(t.Context(),
			metav1.ListOptions{LabelSelector: partOf})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range policies.Items {
			got["policy "+p.Name] = string(p.UID) + " " + p.ResourceVersion
		}
		settings, err := c.kube.CoreV1().ConfigMaps("tekton-pipelines").Get(t.Context(), "config-signing",
			metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got["settings"] = string(settings.UID) + " " + settings.ResourceVersion
		return got
	}
	before := versions()
	if len(before) < 4 {
		t.Fatalf("want a Deployment, two policies and the settings, got %v", before)
	}
	out := c.kubectl(t, enableArgs("--yes")...)
	if out.code != 0 {
		t.Fatalf("enable: %s", out)
	}
	if diff := cmp.Diff(before, versions()); diff != "" {
		t.Errorf("the second enable wrote something (-before +after):\n%s", diff)
	}
}

// testDrift removes a policy and expects the add-on to take the token grant away, verify to say why a TaskRun is
// unsigned, and enable to repair it.
func testDrift(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	policies := c.kube.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	list, err := policies.List(t.Context(), metav1.ListOptions{LabelSelector: partOf})
	if err != nil || len(list.Items) < 2 {
		t.Fatalf("want the bindings of two policies, got %d, %v", len(list.Items), err)
	}
	for _, p := range list.Items {
		if err := policies.Delete(t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	granted := func(ctx context.Context) (bool, error) {
		bindings, err := c.kube.RbacV1().RoleBindings(ns).List(ctx, metav1.ListOptions{LabelSelector: partOf})
		return err == nil && len(bindings.Items) == 1, err
	}
	c.eventually(t, "the grant to be withdrawn", func(ctx context.Context) (bool, error) {
		ok, err := granted(ctx)
		return !ok, err
	})

	tr := c.finish(t, ns, fixture(t, "results"))
	wantSucceeded(t, tr)
	wantResultNames(t, tr, "digest", "tags", "image")
	wantUnsigned(t, c, tr, "token-denied")
	const told = "warning: ValidatingAdmissionPolicyBinding tekton-sign-signing-tokens is missing"
	if out := c.kubectl(t, "tekton-sign", "verify", "-n", ns, "taskrun/"+tr.Name); !strings.Contains(out.stderr, told) {
		t.Errorf("verify does not tell that the policies are gone: %s", out)
	}

	if out := c.kubectl(t, enableArgs("--yes")...); out.code != 0 {
		t.Fatalf("enable after drift: %s", out)
	}
	c.eventually(t, "the grant to be given again", granted)
	again := fixture(t, "results")
	again.Name = "results-again"
	wantCondition(t, c.finish(t, ns, again), "True", "TaskRunResultsVerified")
	if out := c.kubectl(t, "tekton-sign", "verify", "-n", ns, "taskrun/"+again.Name); out.code != 0 ||
		strings.Contains(out.stderr, "warning") {
		t.Errorf("want it verified without a warning: %s", out)
	}
}
