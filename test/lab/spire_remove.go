// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
)

// removeSPIRE refuses while the driver's volumes are in use: nobody could unmount them any more.
func (l *Lab) removeSPIRE(ctx context.Context) error {
	if _, err := l.init(); err != nil {
		return err
	}
	if err := l.checkVolumes(ctx); err != nil {
		return err
	}
	settings := spire.Settings{Config: spire.Federated, ControllerManager: true}
	servers, err := spire.ServerManifests(settings)
	if err != nil {
		return err
	}
	nodes, err := spire.NodeManifests(settings)
	if err != nil {
		return err
	}
	crds, err := l.crds(ctx)
	if err != nil {
		return err
	}
	if err := l.delete(ctx, slices.Concat(nodes, reversed(servers), crds)); err != nil {
		return err
	}
	return os.RemoveAll(l.spireData())
}

func reversed(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	slices.Reverse(objects)
	return objects
}

func (l *Lab) delete(ctx context.Context, objects []*unstructured.Unstructured) error {
	config, err := l.RESTConfig()
	if err != nil {
		return err
	}
	return tekton.Delete(ctx, config, objects)
}

func (l *Lab) checkVolumes(ctx context.Context) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed && usesSPIRE(pod) {
			return fmt.Errorf("pod %s in namespace %s still has a volume of %s: delete it before SPIRE",
				pod.Name, pod.Namespace, spire.Driver)
		}
	}
	return nil
}

func usesSPIRE(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.CSI != nil && v.CSI.Driver == spire.Driver
	})
}
