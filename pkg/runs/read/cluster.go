// SPDX-License-Identifier: Apache-2.0

package read

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/budget"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
)

// finder finds the objects of a cluster.
type finder struct{ clients enable.Clients }

// NewFinder returns a finder of the objects of a cluster.
func NewFinder(clients enable.Clients) budget.Finder { return finder{clients} }

// Find implements budget.Finder.
func (f finder) Find(ctx context.Context, kind, namespace, name string) ([]byte, error) {
	of := schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "tasks"}
	if kind == budget.KindStepAction {
		of.Version, of.Resource = "v1beta1", "stepactions"
	}
	object, err := f.clients.Dynamic.Resource(of).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	return object.MarshalJSON()
}

// PodOf returns a function that reads the pod of a TaskRun.
func PodOf(clients enable.Clients) func(ctx context.Context, namespace, name string) Pod {
	return func(ctx context.Context, namespace, name string) Pod {
		pod, err := clients.Kube.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return Pod{} // it is gone, or may not be read
		}
		return Pod{Node: pod.Spec.NodeName, Containers: stock(pod)}
	}
}

// stock counts the containers that a pod would have without the signer, without the sidecar of Tekton that reads
// results, and without those for debugging.
func stock(pod *corev1.Pod) int {
	n := 0
	for _, all := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range all {
			if c.Name != tekton.ResultsSidecar && !inject.IsOwn(c) {
				n++
			}
		}
	}
	return n
}
