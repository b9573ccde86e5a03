// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNightlyUpgrade installs the manifests of the previous version as its enable did, goes on to this version, and back, while
// TaskRuns come and go: none is broken, and what was verified before verifies after. The images are those of this version both
// times. In the end nothing of either is left.
func TestNightlyUpgrade(t *testing.T) {
	c := open(t)
	before := c.snapshot(t)
	t.Run("all", func(t *testing.T) { testUpgrade(t, c) })
	wantSame(t, before, c.snapshot(t))
}

func testUpgrade(t *testing.T, c *cluster) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		if out := c.kubectlUntil(ctx, t, "", "tekton-sign", "disable", "--purge", "--yes"); out.code != 0 {
			t.Errorf("disable: %s", out)
		}
	})
	c.applyPrevious(t)
	ns := c.namespace(t, true)
	c.wantServing(t, ns)
	first := c.getTaskRun(t, ns, "afterwards")

	load := c.startLoad(t, ns)
	if out := c.kubectl(t, enableArgs("--yes")...); out.code != 0 {
		t.Fatalf("enable over the previous version: %s", out)
	}
	c.awaitReplicas(t)
	c.verify(t, "VERIFIED", 0, "taskrun/"+first.Name, "-n", ns)
	enforced := c.enforced(t)
	c.wantServing(t, enforced)
	c.mustKubectl(t, "label", "namespace", enforced, "tekton-sign.dev/enforcement-")

	c.applyPrevious(t)
	load.stop()
	tally := map[string]int{}
	for _, tr := range c.allDone(t, ns) {
		wantSucceeded(t, &tr)
		wantResultNames(t, &tr, "digest")
		tally[endOf(&tr)]++
	}
	t.Logf("%v", tally)
	back := c.namespace(t, true)
	c.wantServing(t, back)
	c.verify(t, "VERIFIED", 0, "taskrun/"+first.Name, "-n", ns)
	c.verify(t, "VERIFIED", 0, "taskrun/afterwards", "-n", back)
}

// applyPrevious installs the manifests of the previous version and waits until they serve.
func (c *cluster) applyPrevious(t *testing.T) {
	t.Helper()
	c.mustKubectl(t, "apply", "--server-side", "--force-conflicts", "--field-manager=tekton-sign", "-k", "testdata/previous")
	c.mustKubectl(t, "rollout", "status", "deployment/tekton-sign-controller", "-n", "tekton-sign", "--timeout=3m")
	c.eventually(t, "the certificate authority of the webhooks", func(ctx context.Context) (bool, error) {
		for _, name := range []string{"tekton-sign-inject", "tekton-sign-status"} {
			hooks, err := c.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			for _, h := range hooks.Webhooks {
				if len(h.ClientConfig.CABundle) == 0 {
					return false, nil
				}
			}
		}
		return true, nil
	})
}
