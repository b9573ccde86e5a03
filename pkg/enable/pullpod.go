// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// proofVolume is where the delivered signer copies itself to, which proves that it runs.
const (
	proofVolume = "proof"
	proofPath   = "/proof"
)

// probeUser is a user other than root.
const probeUser = 65532

// pod returns the pod of the probe. It fits the strictest Pod Security level and small quotas, has no token, and ends
// by itself.
func (p pullProbe) pod() *corev1.Pod {
	no, lifetime := false, int64(probeLifetime/time.Second)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "tekton-sign-probe-", Namespace: p.place.namespace,
			Labels: map[string]string{manifests.LabelPartOf: manifests.PartOf, "app.kubernetes.io/name": "probe"},
		},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: &lifetime,
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			NodeSelector: map[string]string{corev1.LabelOSStable: string(corev1.Linux)},
			Tolerations:  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{p.container(proofVolume, step.PodPath, proofPath+step.ImagePath,
				corev1.VolumeMount{Name: delivery.Volume, MountPath: step.MountPath, ReadOnly: true},
				corev1.VolumeMount{Name: proofVolume, MountPath: proofPath})},
			Volumes: []corev1.Volume{p.signer(), {Name: proofVolume, VolumeSource: emptyDir()}},
		},
	}
	if !p.byVolume {
		pod.Spec.InitContainers = []corev1.Container{p.container(delivery.InitContainer, step.ImagePath, step.PodPath,
			corev1.VolumeMount{Name: delivery.Volume, MountPath: step.MountPath})}
	}
	for _, name := range p.place.secrets {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	if p.kind.node != "" {
		pod.Spec.Affinity = onNode(p.kind.node)
	} else {
		pod.Spec.Tolerations = nil
	}
	return pod
}

// signer returns the volume with the signer.
func (p pullProbe) signer() corev1.Volume {
	if !p.byVolume {
		return corev1.Volume{Name: delivery.Volume, VolumeSource: emptyDir()}
	}
	image := &corev1.ImageVolumeSource{Reference: p.image, PullPolicy: corev1.PullIfNotPresent}
	return corev1.Volume{Name: delivery.Volume, VolumeSource: corev1.VolumeSource{Image: image}}
}

// container returns a container in which the signer installs itself to a destination.
func (p pullProbe) container(name, program, destination string, mounts ...corev1.VolumeMount) corev1.Container {
	return corev1.Container{
		Name: name, Image: p.image, ImagePullPolicy: corev1.PullIfNotPresent,
		Command:         []string{program, step.CommandInstall, destination},
		SecurityContext: restricted(), Resources: smallResources(), VolumeMounts: mounts,
	}
}

func smallResources() corev1.ResourceRequirements {
	list := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
		}
	}
	return corev1.ResourceRequirements{Requests: list("10m", "32Mi"), Limits: list("100m", "64Mi")}
}

// onNode makes the scheduler take one node, and report if it cannot.
func onNode(name string) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchFields: []corev1.NodeSelectorRequirement{
				{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{name}},
			},
		}}},
	}}
}

func emptyDir() corev1.VolumeSource {
	return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
}

// restricted returns the security context that the strictest Pod Security level demands.
func restricted() *corev1.SecurityContext {
	yes, no, user := true, false, int64(probeUser)
	return &corev1.SecurityContext{
		RunAsUser:                &user,
		ReadOnlyRootFilesystem:   &yes,
		AllowPrivilegeEscalation: &no,
		RunAsNonRoot:             &yes,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}
