// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
)

// Model returns a pod with one step in the form in which Tekton makes it (v1.15.0, pkg/pod), with image in
// all containers. It is for dry runs, which try the injection and whether the API server accepts the pod. It
// fits the strictest Pod Security level and small quotas.
func Model(namespace, image string) *corev1.Pod {
	const name, uid = "tekton-sign-canary", "00000000-0000-4000-8000-000000000000"
	secure := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		RunAsNonRoot:             new(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	few := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("1Mi"),
	}
	resources := corev1.ResourceRequirements{Requests: few, Limits: few}
	emptyDir := func(name string) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name + "-pod", Namespace: namespace,
			Labels: map[string]string{
				"app.kubernetes.io/managed-by": "tekton-pipelines",
				pipeline.TaskRunLabelKey:       name,
				pipeline.TaskRunUIDLabelKey:    uid,
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: name, UID: uid, Controller: new(true),
			}},
		},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			InitContainers: []corev1.Container{{
				Name: "prepare", Image: image, WorkingDir: "/",
				Command:         []string{"/ko-app/entrypoint", "init", "/ko-app/entrypoint", tekton.Entrypoint, "step-canary"},
				SecurityContext: secure, Resources: resources,
				VolumeMounts: []corev1.VolumeMount{
					{Name: "tekton-internal-bin", MountPath: "/tekton/bin"},
					{Name: "tekton-internal-steps", MountPath: pipeline.StepsDir},
				},
			}},
			Containers: []corev1.Container{{
				Name: "step-canary", Image: image,
				Command: []string{tekton.Entrypoint},
				Args: []string{
					"-post_file", "/tekton/run/0/out", "-termination_path", "/tekton/termination",
					"-step_metadata_dir", "/tekton/run/0/status", "-entrypoint", "true", "--",
				},
				TerminationMessagePath: "/tekton/termination",
				SecurityContext:        secure, Resources: resources,
				VolumeMounts: []corev1.VolumeMount{
					{Name: "tekton-internal-run-0", MountPath: "/tekton/run/0"},
					{Name: "tekton-internal-bin", MountPath: "/tekton/bin", ReadOnly: true},
					{Name: "tekton-internal-steps", MountPath: pipeline.StepsDir, ReadOnly: true},
				},
			}},
			Volumes: []corev1.Volume{
				emptyDir("tekton-internal-bin"), emptyDir("tekton-internal-run-0"), emptyDir("tekton-internal-steps"),
			},
		},
	}
}
