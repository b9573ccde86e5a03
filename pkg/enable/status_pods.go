// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// What the add-on puts into a pod to bring the signer there.
const (
	signerVolume = "tekton-internal-sign" // made of the signer's image, or filled by signerInit
	signerInit   = "tekton-sign"
)

// stuckPods are the pods of one namespace that do not start because of the signer.
type stuckPods struct {
	count      int
	name       string // of the first
	image, why string
}

// waitingPods looks for TaskRuns that hang because their nodes cannot get the signer.
func (l *look) waitingPods(ctx context.Context) {
	if !l.known || !l.listed {
		return // said already
	}
	stuck := map[string]stuckPods{}
	options := metav1.ListOptions{LabelSelector: pipeline.TaskRunLabelKey, FieldSelector: "status.phase=" + string(corev1.PodPending), Limit: podPage}
	for {
		page, err := l.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
		if IsForbidden(err) { // pods hold more than a monitor should see
			l.note(status.PartAddOn, status.CheckSignerImage, "you may not list pods: whether some wait for the signer's image was not looked at")
			return
		}
		if err != nil {
			l.unreadable(status.PartAddOn, status.CheckSignerImage, "the pods of all namespaces", err)
			return
		}
		for i := range page.Items {
			pod := &page.Items[i]
			if image, why := withoutSigner(pod); why != "" && l.inScope(pod.Namespace) {
				s := stuck[pod.Namespace]
				stuck[pod.Namespace] = stuckPods{count: s.count + 1, name: cmp.Or(s.name, pod.Name), image: cmp.Or(s.image, image), why: cmp.Or(s.why, why)}
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	l.stuck(stuck)
}

// stuck names the namespaces, the first with its reason.
func (l *look) stuck(stuck map[string]stuckPods) {
	if len(stuck) == 0 {
		return
	}
	namespaces := slices.Sorted(maps.Keys(stuck))
	first := stuck[namespaces[0]]
	counts := make([]string, len(namespaces))
	for i, namespace := range namespaces {
		counts[i] = fmt.Sprintf("%s (%d)", namespace, stuck[namespace].count)
	}
	l.add(status.Check{
		Part: status.PartAddOn, ID: status.CheckSignerImage, Status: verify.Fail,
		Object:   &status.Object{Kind: "Pod", Namespace: namespaces[0], Name: first.name},
		Expected: "the signer's image " + first.image, Got: first.why,
		Message: "TaskRuns hang, because their pods cannot get the signer: " + fewOf(counts),
		Next: "let the nodes pull the image with the secrets of the pods' service accounts (imagePullSecrets), or from a registry that needs none " +
			"(enable --registry), or leave the namespaces out (enable --namespaces or --namespace-selector)",
	})
}

// withoutSigner returns the signer's image of a pod and why the pod does not get it, no reason if nothing is known to be amiss.
func withoutSigner(pod *corev1.Pod) (image, why string) {
	image = signerImageOf(pod)
	if image == "" || pod.DeletionTimestamp != nil {
		return "", ""
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		w := s.State.Waiting
		if w == nil || !slices.Contains(unstartable(), w.Reason) {
			continue
		}
		if s.Name == signerInit || strings.Contains(w.Message, image) || strings.Contains(w.Message, signerVolume) {
			return image, strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
	}
	return "", ""
}

// unstartable are the kubelet's reasons for a container that does not start.
func unstartable() []string {
	return []string{
		"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable",
		"SignatureValidationFailed", "CreateContainerError", "CreateContainerConfigError", "RunContainerError",
	}
}

// signerImageOf returns the image that brings the signer into a pod, empty where the add-on left the pod alone.
func signerImageOf(pod *corev1.Pod) string {
	for _, volume := range pod.Spec.Volumes {
		if volume.Name == signerVolume && volume.Image != nil {
			return volume.Image.Reference
		}
	}
	for _, container := range pod.Spec.InitContainers {
		if container.Name == signerInit {
			return container.Image
		}
	}
	return ""
}
