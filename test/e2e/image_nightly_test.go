// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// goneImage is a signer's image that no registry has.
const goneImage = "none.invalid/sign/signer:gone"

// TestNightlyImageOutOfReach: nodes do not get the signer's image. Before signing is turned on, that is refused;
// afterwards TaskRuns run unsigned, but for those that were about to start.
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
	for _, want := range []string{"none.invalid/sign/signer", "in namespace e2e-", "ErrImagePull", "--pull-secret",
		"--registry", "Nothing was changed"} {
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

// testImageGone has the add-on hand out an image that is not to be had. The TaskRun that meets it first succeeds by
// init container only; the next one succeeds without a signature. Enable heals it.
func testImageGone(t *testing.T, c *cluster, delivery string) {
	c.enable(t)
	ns := c.namespace(t, true)
	c.mustKubectl(t, enableArgs("--yes", "--delivery", delivery)...)
	c.noProbes(t, ns)
	c.untilHealthy(t, nil)
	c.mustKubectl(t, "set", "env", "deployment/tekton-sign-controller", "-n", "tekton-sign", "SIGNER_IMAGE="+goneImage)
	c.mustKubectl(t, "rollout", "status", "deployment/tekton-sign-controller", "-n", "tekton-sign", "--timeout=3m")
	// API servers may call them until then
	c.eventually(t, "the replicas of before to be gone", func(ctx context.Context) (bool, error) {
		pods, err := c.kube.CoreV1().Pods("tekton-sign").List(ctx, metav1.ListOptions{LabelSelector: addOnReplicas})
		return err == nil && len(pods.Items) == 2, err
	})

	first := c.start(t, ns, fixture(t, "results"))
	began := time.Now()
	c.eventually(t, "status to name the namespace", func(context.Context) (bool, error) {
		out := c.status(t, nil)
		return out.code == 4 && strings.Contains(out.stdout, ns) &&
			strings.Contains(out.stdout, "TaskRuns run there unsigned"), nil
	})
	t.Logf("delivery %s: known after %s", delivery, time.Since(began).Round(time.Second))
	c.eventually(t, "an event beside the TaskRun", func(ctx context.Context) (bool, error) {
		events, err := c.kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=SignerNotDelivered"})
		return err == nil && len(events.Items) > 0, err
	})
	c.wantStatus(t, nil, 4, ns, goneImage, "enable --pull-secret")

	second := c.finish(t, ns, named(t, "second"))
	wantSucceeded(t, second)
	pod := c.pod(t, ns, second.Status.PodName)
	if got := deliveryOf(pod); got != "nothing" {
		t.Errorf("the signer came by %s, want it to be left out", got)
	}
	if reason := pod.Annotations[signing.UnsignedAnnotation]; !strings.Contains(reason, "ImagePull") {
		t.Errorf("the pod's reason is %q, want the kubelet's", reason)
	}
	c.verify(t, "UNSIGNED", 3, "taskrun/"+second.Name, "-n", ns)

	// By init container, the pod that was about to start is replaced. With an image volume, Tekton fails the TaskRun
	// at once.
	first = c.watchUntil(t, first, "completed", (*pipelinev1.TaskRun).IsDone)
	if succeeded := first.IsSuccessful(); succeeded != (delivery == "init") {
		t.Errorf("delivery %s: the first TaskRun has succeeded: %t: %s", delivery, succeeded, describe(first))
	}
	t.Logf("delivery %s: the first TaskRun: %s", delivery, describe(first))

	c.mustKubectl(t, enableArgs("--yes", "--delivery", delivery)...)
	c.noProbes(t, ns)
	third := c.finish(t, ns, named(t, "third"))
	wantSucceeded(t, third)
	wantCondition(t, third, "True", "TaskRunResultsVerified")
	c.untilHealthy(t, nil)
}

// named is the TaskRun of a fixture under another name.
func named(t *testing.T, name string) *pipelinev1.TaskRun {
	t.Helper()
	tr := fixture(t, "results")
	tr.Name = name
	return tr
}
