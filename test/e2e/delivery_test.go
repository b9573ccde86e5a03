// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// testDelivery runs TaskRuns with the signer delivered in each of the two ways, and wants auto to choose the image
// volume, which a cluster of Kubernetes 1.35 with containerd 2.1 has.
func testDelivery(t *testing.T, c *cluster) {
	for _, tc := range []struct{ delivery, want string }{
		{"init", "init"}, {"image", "image"}, {"auto", "image"},
	} {
		t.Run(tc.delivery, func(t *testing.T) {
			if out := c.kubectl(t, enableArgs("--yes", "--delivery", tc.delivery)...); out.code != 0 {
				t.Fatalf("enable: %s", out)
			}
			ns := c.namespace(t, true)
			for _, name := range []string{"results", "restricted", "wide"} {
				tr := c.finish(t, ns, fixture(t, name))
				wantSucceeded(t, tr)
				wantCondition(t, tr, "True", "TaskRunResultsVerified")
				c.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns)
				if got := deliveryOf(c.pod(t, ns, tr.Status.PodName)); got != tc.want {
					t.Errorf("the signer came by %s, want %s", got, tc.want)
				}
			}
		})
	}
}

func deliveryOf(pod *corev1.Pod) string {
	if slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Image != nil }) {
		return "image"
	}
	if slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "tekton-sign" }) {
		return "init"
	}
	return "nothing"
}
