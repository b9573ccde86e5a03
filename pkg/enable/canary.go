// SPDX-License-Identifier: Apache-2.0

package enable

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// stockEntrypoint is the command of every step that the signer does not wrap.
const stockEntrypoint = "/tekton/bin/entrypoint"

// canaryPod returns a pod of one step in the form in which Tekton makes them (v1.15.0, pkg/pod), for a dry run. It fits
// the strictest Pod Security level and small quotas, so that what is tried is the injection.
func canaryPod(namespace string) *corev1.Pod {
	const name, uid = "tekton-sign-canary", "00000000-0000-4000-8000-000000000000"
	yes, secure := true, restricted()
	few := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("1Mi"),
	}
	resources := corev1.ResourceRequirements{Requests: few, Limits: few}
	empty := func(name string) corev1.Volume { return corev1.Volume{Name: name, VolumeSource: emptyDir()} }
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name + "-pod", Namespace: namespace,
			Labels: map[string]string{
				"app.kubernetes.io/managed-by": "tekton-pipelines",
				"tekton.dev/taskRun":           name,
				"tekton.dev/taskRunUID":        uid,
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: name, UID: uid, Controller: &yes,
			}},
		},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			InitContainers: []corev1.Container{{
				Name: "prepare", Image: "tekton-sign.invalid/entrypoint", WorkingDir: "/",
				Command:         []string{"/ko-app/entrypoint", "init", "/ko-app/entrypoint", stockEntrypoint, "step-canary"},
				SecurityContext: secure, Resources: resources,
				VolumeMounts: []corev1.VolumeMount{
					{Name: "tekton-internal-bin", MountPath: "/tekton/bin"},
					{Name: "tekton-internal-steps", MountPath: "/tekton/steps"},
				},
			}},
			Containers: []corev1.Container{{
				Name: "step-canary", Image: "tekton-sign.invalid/step",
				Command: []string{stockEntrypoint},
				Args: []string{
					"-post_file", "/tekton/run/0/out", "-termination_path", "/tekton/termination",
					"-step_metadata_dir", "/tekton/run/0/status", "-entrypoint", "true", "--",
				},
				TerminationMessagePath: "/tekton/termination",
				SecurityContext:        secure, Resources: resources,
				VolumeMounts: []corev1.VolumeMount{
					{Name: "tekton-internal-run-0", MountPath: "/tekton/run/0"},
					{Name: "tekton-internal-bin", MountPath: "/tekton/bin", ReadOnly: true},
					{Name: "tekton-internal-steps", MountPath: "/tekton/steps", ReadOnly: true},
				},
			}},
			Volumes: []corev1.Volume{
				empty("tekton-internal-bin"), empty("tekton-internal-run-0"), empty("tekton-internal-steps"),
			},
		},
	}
}
