// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// trialUID is the UID of a TaskRun that there is not.
const trialUID = "00000000-0000-4000-8000-000000000000"

// modelPod returns a pod as Tekton makes one for a TaskRun of one step (Tekton Pipelines v1.15.0, pkg/pod), as far as policies look at
// pods: its images are one that every such pod has, and it meets the restricted Pod Security Standard. It is for dry runs only.
func modelPod(namespace, image string) *corev1.Pod {
	const name = "tekton-sign-trial"
	restricted := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), RunAsNonRoot: new(true),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	empty := func(name string) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name + "-pod",
			Labels: map[string]string{
				"app.kubernetes.io/managed-by": "tekton-pipelines", "tekton.dev/taskRun": name, "tekton.dev/taskRunUID": trialUID,
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: name, UID: trialUID, Controller: new(true),
			}},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:      corev1.RestartPolicyNever,
			ServiceAccountName: "default",
			Volumes: []corev1.Volume{
				empty("tekton-internal-bin"), empty("tekton-internal-run-0"), empty("tekton-internal-steps"),
				empty("tekton-internal-workspace"), empty("tekton-internal-home"), empty("tekton-internal-results"),
				{Name: "tekton-internal-downward", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
					Items: []corev1.DownwardAPIVolumeFile{{
						Path: "ready", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['tekton.dev/ready']"},
					}},
				}}},
			},
			InitContainers: []corev1.Container{{
				Name: "prepare", Image: image, WorkingDir: "/", SecurityContext: restricted,
				Command: []string{"/ko-app/entrypoint", "init", "/ko-app/entrypoint", "/tekton/bin/entrypoint", "step-trial"},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "tekton-internal-bin", MountPath: "/tekton/bin"}, {Name: "tekton-internal-steps", MountPath: "/tekton/steps"},
				},
			}},
			Containers: []corev1.Container{{
				Name: "step-trial", Image: image, SecurityContext: restricted.DeepCopy(),
				TerminationMessagePath: "/tekton/termination",
				Command:                []string{"/tekton/bin/entrypoint"},
				Args: []string{
					"-wait_file", "/tekton/downward/ready", "-wait_file_content", "-post_file", "/tekton/run/0/out",
					"-termination_path", "/tekton/termination", "-step_metadata_dir", "/tekton/run/0/status", "-entrypoint", "true", "--",
				},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "tekton-internal-downward", MountPath: "/tekton/downward", ReadOnly: true},
					{Name: "tekton-internal-run-0", MountPath: "/tekton/run/0"},
					{Name: "tekton-internal-bin", MountPath: "/tekton/bin", ReadOnly: true},
					{Name: "tekton-internal-workspace", MountPath: "/workspace"},
					{Name: "tekton-internal-home", MountPath: "/tekton/home"},
					{Name: "tekton-internal-results", MountPath: "/tekton/results"},
					{Name: "tekton-internal-steps", MountPath: "/tekton/steps", ReadOnly: true},
				},
			}},
		},
	}
}

// refusesPod reports whether an error is somebody's answer to the pod itself: a policy's or a webhook's, or that the pod is not
// valid. A quota, a conflict, and whatever may be otherwise in a moment are not.
func refusesPod(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || strings.Contains(err.Error(), "exceeded quota") {
		return false
	}
	switch status.Status().Code {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	default:
		return status.Status().Code >= http.StatusBadRequest && status.Status().Code < http.StatusInternalServerError
	}
}

// refusedPod is what the API server says of a pod before the words of who refuses it.
var refusedPod = regexp.MustCompile(`^pods? "[^"]*" is (forbidden|invalid): `)

// reasonOf returns why a pod was refused, empty for nil.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if reason := refusedPod.ReplaceAllString(err.Error(), ""); reason != "" {
		return reason
	}
	return "refused without a reason"
}
