// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// previous is the commit of the version before this one.
const previous = "d5b69a1"

// TestNightlyUpgrade installs the previous version, built from its commit, as its enable did, goes on to this
// version, and back, while TaskRuns come and go: none is broken, and what was verified before verifies after. In
// the end nothing of either is left.
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
		// If it was there before enable, disable has put it back.
		err := c.kube.CoreV1().ConfigMaps("tekton-pipelines").Delete(ctx, "config-signing", metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	manifests := buildPrevious(t)
	c.applyPrevious(t, manifests)
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

	// The old version would not know the settings of the new one: they go first, with everything but the trust history.
	if out := c.kubectl(t, "tekton-sign", "disable", "--yes"); out.code != 0 {
		t.Fatalf("disable: %s", out)
	}
	c.applyPrevious(t, manifests)
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

// buildPrevious builds the previous version, loads its images into the lab, and returns the folder with its manifests.
func buildPrevious(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	mustRun := func(in, script string) {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "SOURCE="+dir, "COMMIT="+previous)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v (the history of the repository must be there)\n%s", script, err, out)
		}
	}
	mustRun("../..", `git archive "$COMMIT" | tar -x -C "$SOURCE"`)
	mustRun(dir, `go build -trimpath -ldflags '-s -w' -o bin/ ./cmd/controller ./cmd/signer`)
	mustRun("../..", `for name in controller signer; do
		bin/lab load "ghcr.io/tekton-sign/$name:previous" --file "$SOURCE/bin/$name=/$name" --entrypoint "/$name"
	done`)
	mustRun(dir, `sed -i 's/:v0.0.0-dev$/:previous/' config/400-controller.yaml && `+
		`grep -c ':previous' config/400-controller.yaml`)
	return filepath.Join(dir, "config")
}

// applyPrevious installs the manifests of the previous version and waits until they serve.
func (c *cluster) applyPrevious(t *testing.T, manifests string) {
	t.Helper()
	c.mustKubectl(t, "apply", "--server-side", "--force-conflicts", "--field-manager=tekton-sign", "-k", manifests)
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
