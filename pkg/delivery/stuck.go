// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// What the add-on adds to a pod to deliver the signer.
const (
	Volume        = "tekton-internal-sign" // from the signer's image, or filled by InitContainer
	InitContainer = "tekton-sign"
)

// Stuck returns the signer's image of a pod, and the kubelet's reason why the pod does not get it. why is
// empty if there is no known problem.
func Stuck(pod *corev1.Pod) (image, why string) {
	image = imageOf(pod)
	if image == "" || pod.DeletionTimestamp != nil {
		return "", ""
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		w := s.State.Waiting
		if w == nil || !slices.Contains(unstartable(), w.Reason) {
			continue
		}
		if s.Name == InitContainer || strings.Contains(w.Message, image) || strings.Contains(w.Message, Volume) {
			return image, strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
	}
	return "", ""
}

// unstartable returns the kubelet's reasons for a container that does not start.
func unstartable() []string {
	return []string{
		"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
		"RegistryUnavailable",
		"SignatureValidationFailed", "CreateContainerError", "CreateContainerConfigError", "RunContainerError",
	}
}

// imageOf returns the image that delivers the signer to a pod. It is empty if the add-on did not inject the
// pod.
func imageOf(pod *corev1.Pod) string {
	for _, volume := range pod.Spec.Volumes {
		if volume.Name == Volume && volume.Image != nil {
			return volume.Image.Reference
		}
	}
	for _, container := range pod.Spec.InitContainers {
		if container.Name == InitContainer {
			return container.Image
		}
	}
	return ""
}
