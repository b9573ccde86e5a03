// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// goneImage is a signer's image that no registry has.
const goneImage = "none.invalid/sign/signer:gone"

// TestNightlyImageOutOfReach: nodes do not get the signer's image. Before signing is turned on, that is refused; afterwards TaskRuns run
// unsigned, but for those that were about to start.
func TestNightlyImageOutOfReach(t *testing.T) {
	c := open(t)
	t.Run("from the start", func(t *testing.T) { testImageNeverThere(t, c) })
	for _, delivery := range []string{"image", "init"} {
		t.Run("later, delivery "+delivery, func(t *testing.T) { testImageGone(t, c, delivery) })
	}
}

// testImageNeverThere: enable is refused with the reason and the way out, and leaves nothing.
func testImageNeverThere(t *testing.T, c *cluster) {
	key, value, _ := strings.Cut(selector, "=")
	ns := c.namespaceWith(t, map[string]string{key: value})
	before := c.snapshot(t)
	began := time.Now()
	out := c.kubectl(t, enableArgs("--yes", "--registry", "none.invalid/sign", "--timeout=90s")...)
	t.Logf("refused after %s", time.Since(began).Round(time.Second))
	for _, want := range []string{"none.invalid/sign/signer", "in namespace e2e-", "ErrImagePull", "--pull-secret", "--registry", "Nothing was changed"} {
		if out.code == 0 || !strings.Contains(out.stderr, want) {
			t.Errorf("want a refusal that names %q: %s", want, out)
		}
	}
	c.noProbes(t, ns)
	wantSame(t, before, c.snapshot(t))
}

// noProbes wants the pods of enable to be gone.
func (c *cluster) noProbes(t *testing.T, namespace string) {
	t.Helper()
	c.eventually(t, "the pods of enable to be gone", func(ctx context.Context) (bool, error) {
		left, err := c.kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: partOf})
		return err == nil && len(left.Items) == 0, err
	})
}

// testImageGone has the add-on hand out an image that is not to be had. The TaskRun that meets it first hangs or fails; the next one
// succeeds without a signature. Enable heals it.
func testImageGone(t *testing.T, c *cluster, delivery string) {
	c.enable(t)
	ns := c.namespace(t, true)
	c.mustKubectl(t, enableArgs("--yes", "--delivery", delivery)...)
	c.noProbes(t, ns)
	c.untilHealthy(t, nil)
	c.mustKubectl(t, "set", "env", "deployment/tekton-sign-controller", "-n", "tekton-sign", "SIGNER_IMAGE="+goneImage)
	c.mustKubectl(t, "rollout", "status", "deployment/tekton-sign-controller", "-n", "tekton-sign", "--timeout=3m")
	c.eventually(t, "the replicas of before to be gone", func(ctx context.Context) (bool, error) { // API servers may call them until then
		pods, err := c.kube.CoreV1().Pods("tekton-sign").List(ctx, metav1.ListOptions{LabelSelector: addOnReplicas})
		return err == nil && len(pods.Items) == 2, err
	})

	first := c.start(t, ns, fixture(t, "results"))
	began := time.Now()
	c.eventually(t, "status to name the namespace", func(context.Context) (bool, error) {
		out := c.status(t, nil)
		return out.code == 4 && strings.Contains(out.stdout, ns) && strings.Contains(out.stdout, "TaskRuns run there unsigned"), nil
	})
	t.Logf("delivery %s: known after %s", delivery, time.Since(began).Round(time.Second))
	c.eventually(t, "an event beside the TaskRun", func(ctx context.Context) (bool, error) {
		events, err := c.kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=SignerNotDelivered"})
		return err == nil && len(events.Items) > 0, err
	})
	c.wantStatus(t, nil, 4, ns, goneImage, "enable --pull-secret")

	second := c.finish(t, ns, fixture(t, "results"))
	wantSucceeded(t, second)
	pod := c.pod(t, ns, second.Status.PodName)
	if got := deliveryOf(pod); got != "nothing" {
		t.Errorf("the signer came by %s, want it to be left out", got)
	}
	if reason := pod.Annotations[signing.UnsignedAnnotation]; !strings.Contains(reason, "ImagePull") {
		t.Errorf("the pod's reason is %q, want the kubelet's", reason)
	}
	c.verify(t, "UNSIGNED", 3, "taskrun/"+second.Name, "-n", ns)

	// What was about to start does not: Tekton fails it, or waits until its timeout.
	after, err := c.tekton.TektonV1().TaskRuns(ns).Get(t.Context(), first.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("delivery %s: the first TaskRun: %s", delivery, describe(after))
	if after.IsSuccessful() {
		t.Error("the first TaskRun succeeded without its image")
	}
	if !after.IsDone() {
		c.cancel(t, after)
	}

	c.mustKubectl(t, enableArgs("--yes", "--delivery", delivery)...)
	c.noProbes(t, ns)
	third := c.finish(t, ns, fixture(t, "results"))
	wantSucceeded(t, third)
	wantCondition(t, third, "True", "TaskRunResultsVerified")
	c.eventually(t, "the first TaskRun to end", func(ctx context.Context) (bool, error) {
		tr, err := c.tekton.TektonV1().TaskRuns(ns).Get(ctx, first.Name, metav1.GetOptions{})
		return err == nil && tr.IsDone(), err
	})
	c.untilHealthy(t, nil)
}
