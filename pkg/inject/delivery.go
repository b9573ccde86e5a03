// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// Delivery is the way in which the signer reaches a pod.
type Delivery string

// The ways of delivery.
const (
	DeliveryImage Delivery = "image" // a volume made of the signer's image (Kubernetes 1.35)
	DeliveryInit  Delivery = "init"  // an init container that copies the signer into an empty volume
)

// volumeName is the name of the volume that holds the signer. The signer has its own volume, so that its init
// container cannot write to anything else in the pod. Tekton does not allow steps to mount volumes with this
// prefix, so no step can replace the signer of a later one.
const volumeName = "tekton-internal-sign"

// nameOf returns the name of a backend's volume in the pod.
func nameOf(v cluster.Volume) string { return volumeName + "-" + v.Name }

// isOwnVolume reports whether a volume is the signer's.
func isOwnVolume(name string) bool {
	return name == volumeName || strings.HasPrefix(name, volumeName+"-")
}

// initName is the init container that installs the signer.
const initName = "tekton-sign"

// prepareName is the init container that installs Tekton's entrypoint (Tekton Pipelines, pkg/pod).
const prepareName = "prepare"

// deliver adds the volume, mounts and init container that deliver the signer to a stock pod.
func deliver(pod *corev1.Pod, steps []stepContainer, options Options) error {
	if err := checkUnused(pod, options.Volumes); err != nil {
		return err
	}
	volume := corev1.Volume{Name: volumeName}
	switch options.Delivery {
	case DeliveryImage:
		volume.Image = &corev1.ImageVolumeSource{Reference: options.SignerImage, PullPolicy: options.PullPolicy}
	case DeliveryInit:
		volume.EmptyDir = &corev1.EmptyDirVolumeSource{}
		if err := addInit(pod, options); err != nil {
			return err
		}
	}
	addPullSecrets(pod, options.PullSecrets)
	addVolume(pod, steps, volume, step.MountPath)
	for _, v := range options.Volumes {
		addVolume(pod, steps, corev1.Volume{Name: nameOf(v), VolumeSource: v.Source}, v.Path)
	}
	return nil
}

// addVolume adds a volume that all steps mount.
func addVolume(pod *corev1.Pod, steps []stepContainer, volume corev1.Volume, path string) {
	pod.Spec.Volumes = append(pod.Spec.Volumes, volume)
	for _, s := range steps {
		s.container.VolumeMounts = append(s.container.VolumeMounts,
			corev1.VolumeMount{Name: volume.Name, MountPath: path, ReadOnly: true})
	}
}

// IsOwn reports whether a container is the signer's init container.
func IsOwn(c corev1.Container) bool { return isOwn(c) }

func isOwn(c corev1.Container) bool { return c.Name == initName }

// unwrapPod turns a wrapped pod back into the stock pod.
func unwrapPod(pod *corev1.Pod, steps []stepContainer) {
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return isOwnVolume(v.Name) })
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, isOwn)
	removePullSecrets(pod)
	for _, s := range steps {
		s.container.VolumeMounts = slices.DeleteFunc(s.container.VolumeMounts,
			func(m corev1.VolumeMount) bool { return isOwnVolume(m.Name) })
		s.start(tekton.Entrypoint, s.args)
	}
}

// addInit adds the signer's init container after Tekton's own, with the same security context and resources.
// Without them, Pod Security and quotas could refuse the pod.
func addInit(pod *corev1.Pod, options Options) error {
	prepare := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == prepareName })
	if prepare < 0 {
		return skipped("expected Tekton's init container %s", prepareName)
	}
	model := pod.Spec.InitContainers[prepare].DeepCopy()
	pod.Spec.InitContainers = slices.Insert(pod.Spec.InitContainers, prepare+1, corev1.Container{
		Name: initName, Image: options.SignerImage, ImagePullPolicy: options.PullPolicy,
		Command:         []string{step.ImagePath, step.CommandInstall, step.PodPath},
		WorkingDir:      model.WorkingDir,
		Resources:       model.Resources,
		SecurityContext: model.SecurityContext,
		VolumeMounts:    []corev1.VolumeMount{{Name: volumeName, MountPath: step.MountPath}},
	})
	return nil
}

// checkUnused refuses a stock pod that already uses the names and paths that the signer needs.
func checkUnused(pod *corev1.Pod, volumes []cluster.Volume) error {
	paths := []string{step.MountPath}
	for _, v := range volumes {
		paths = append(paths, v.Path)
	}
	for _, v := range pod.Spec.Volumes {
		if isOwnVolume(v.Name) {
			return skipped("the pod already has a volume %s", v.Name)
		}
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == initName {
			return skipped("the pod already has a container %s", initName)
		}
		for _, m := range c.VolumeMounts {
			if isOwnVolume(m.Name) || slices.Contains(paths, m.MountPath) {
				return skipped("container %s mounts volume %s at %s, which the signer needs for itself", c.Name, m.Name,
					m.MountPath)
			}
		}
	}
	return nil
}
