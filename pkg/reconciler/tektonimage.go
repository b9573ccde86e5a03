// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
)

// TektonImage knows the image of Tekton's entrypoint, which Tekton puts into the pod of every TaskRun. Policies must
// allow it wherever TaskRuns run.
type TektonImage struct {
	client    kubernetes.Interface
	namespace string
	now       func() time.Time

	mu    sync.Mutex
	image string
	read  time.Time
}

// tektonImageAge is how long an answer is valid. It changes when Tekton is upgraded.
const tektonImageAge = 5 * time.Minute

// NewTektonImage returns the view of the pods in Tekton's namespace.
func NewTektonImage(client kubernetes.Interface, tektonNamespace string, now func() time.Time) *TektonImage {
	return &TektonImage{client: client, namespace: tektonNamespace, now: now}
}

// Get returns the reference of the image.
func (i *TektonImage) Get(ctx context.Context) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.image != "" && i.now().Sub(i.read) < tektonImageAge {
		return i.image, nil
	}
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	specs, err := i.controllers(ctx)
	if err != nil {
		return "", err
	}
	for _, spec := range specs {
		for _, container := range spec.Containers {
			if image, _ := tekton.FlagValue(slices.Concat(container.Command, container.Args), "entrypoint-image"); image != "" {
				i.image, i.read = image, i.now()
				return image, nil
			}
		}
	}
	return "", fmt.Errorf("no Deployment or StatefulSet in namespace %s starts Tekton's controller with "+
		"-entrypoint-image", i.namespace)
}

// controllers returns the pods of Tekton's controller.
func (i *TektonImage) controllers(ctx context.Context) ([]corev1.PodSpec, error) {
	options := metav1.ListOptions{LabelSelector: tekton.Controllers}
	deployments, err := i.client.AppsV1().Deployments(i.namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("looking for Tekton's controller: %w", err)
	}
	sets, err := i.client.AppsV1().StatefulSets(i.namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("looking for Tekton's controller: %w", err)
	}
	var specs []corev1.PodSpec
	for _, d := range deployments.Items {
		specs = append(specs, d.Spec.Template.Spec)
	}
	for _, s := range sets.Items {
		specs = append(specs, s.Spec.Template.Spec)
	}
	return specs, nil
}
