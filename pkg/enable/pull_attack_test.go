// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"fmt"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
)

// After a registry was down, one enable gives the signer back to all namespaces that were left alone, however many.
func TestHealMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 3 * maxProbes
		objects, entries := []runtime.Object{readyNode("n", "amd64")}, map[string]delivery.Exception{}
		for i := range many {
			name := fmt.Sprintf("team-%02d", i)
			objects = append(objects, pullingFrom(name)...)
			entries[name+".start"] = delivery.Exception{Delivery: delivery.None, Image: testSigner}
		}
		c := newFakeCluster(t, append(objects, exceptions(t, entries))...)
		c.kubelet(starts)
		p := Plan{Environment: testEnvironment, Settings: testRequest().Settings, SignerImage: testSigner}
		healed, err := p.ProveSigner(t.Context(), c.Clients, silent)
		if err != nil || len(healed) != many {
			t.Errorf("got %d namespaces that are given the signer again, want %d; %v", len(healed), many, err)
		}
	})
}

// The editors of one namespace cannot keep anyone from enabling or upgrading for the others: neither with a pull
// secret of the default service account that the registry refuses, nor by changing the image of the probe.
func TestProbeInOneTeamsNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		objects := append(append(pullingFrom("good"), pullingFrom("hostile", "wrong")...), readyNode("n", "amd64"))
		c := newFakeCluster(t, objects...)
		c.kubelet(func(pod *corev1.Pod) error {
			if pod.Namespace == "hostile" {
				return waits(delivery.InitContainer, "ErrImagePull", "401 Unauthorized")(pod)
			}
			return starts(pod)
		})
		if said, err := prove(t.Context(), t, c, testRequest().Settings); err != nil {
			t.Errorf("enable is refused for the whole cluster: %v\n%s", err, said)
		}
	})
}
