// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"strings"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
)

const (
	modelName = "tekton-sign-canary"
	modelUID  = "00000000-0000-4000-8000-000000000000"
)

// Model returns a pod with one step, a script, in the form in which Tekton makes it for a task of a pipeline
// (v1.15.0, pkg/pod), with image in all containers. It is for dry runs, which try the injection and whether
// the API server accepts the pod. It fits the strictest Pod Security level and small quotas.
func Model(namespace, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: modelName + "-pod", Namespace: namespace,
			Annotations: map[string]string{"pipeline.tekton.dev/release": "v1.15.0", "tekton.dev/ready": "READY"},
			Labels: map[string]string{
				"app.kubernetes.io/managed-by": "tekton-pipelines",
				pipeline.TaskRunLabelKey:       modelName,
				pipeline.TaskRunUIDLabelKey:    modelUID,
				pipeline.PipelineTaskLabelKey:  "canary",
				pipeline.MemberOfLabelKey:      "tasks",
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: modelName, UID: modelUID,
				Controller: new(true), BlockOwnerDeletion: new(true),
			}},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:         corev1.RestartPolicyNever,
			ActiveDeadlineSeconds: new(int64(5400)), // one and a half times Tekton's default timeout
			InitContainers: []corev1.Container{
				modelContainer("prepare", image,
					[]string{"/ko-app/entrypoint", "init", "/ko-app/entrypoint", tekton.Entrypoint, "step-canary"}, nil,
					"bin:/tekton/bin", "steps:"+pipeline.StepsDir),
				modelContainer("place-scripts", image, []string{"sh"}, []string{"-c", "true"},
					"scripts:/tekton/scripts", "bin:/tekton/bin"),
			},
			Containers: []corev1.Container{modelStep(image)},
			Volumes:    modelVolumes(),
		},
	}
}

func modelStep(image string) corev1.Container {
	step := modelContainer("step-canary", image, []string{tekton.Entrypoint}, []string{
		"-wait_file", "/tekton/downward/ready", "-wait_file_content",
		"-post_file", "/tekton/run/0/out", "-termination_path", "/tekton/termination",
		"-step_metadata_dir", "/tekton/run/0/status", "-entrypoint", "/tekton/scripts/script-0-canary", "--",
	}, "run-0:/tekton/run/0", "workspace:/workspace", "home:/tekton/home",
		"results:/tekton/results", "artifacts:/tekton/artifacts")
	for _, place := range []string{
		"scripts:/tekton/scripts", "downward:/tekton/downward", "bin:/tekton/bin", "steps:" + pipeline.StepsDir,
	} {
		mount := modelMount(place)
		mount.ReadOnly = true
		step.VolumeMounts = append(step.VolumeMounts, mount)
	}
	step.VolumeMounts = append(step.VolumeMounts,
		corev1.VolumeMount{Name: "tekton-creds-init-home-0", MountPath: pipeline.CredsDir})
	step.TerminationMessagePath = "/tekton/termination"
	return step
}

func modelContainer(name, image string, command, args []string, places ...string) corev1.Container {
	few := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("1Mi"),
	}
	c := corev1.Container{
		Name: name, Image: image, Command: command, Args: args,
		Resources: corev1.ResourceRequirements{Requests: few, Limits: few},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			RunAsNonRoot:             new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
	if name == "prepare" {
		c.WorkingDir = "/"
	}
	for _, place := range places {
		c.VolumeMounts = append(c.VolumeMounts, modelMount(place))
	}
	return c
}

// modelMount returns a mount of one of Tekton's own volumes, by the last part of its name.
func modelMount(place string) corev1.VolumeMount {
	name, path, _ := strings.Cut(place, ":")
	return corev1.VolumeMount{Name: internalVolume + name, MountPath: path}
}

const internalVolume = "tekton-internal-"

func modelVolumes() []corev1.Volume {
	var volumes []corev1.Volume
	for _, name := range []string{"workspace", "home", "results", "steps", "artifacts", "scripts", "bin", "run-0"} {
		volumes = append(volumes, corev1.Volume{
			Name: internalVolume + name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
		})
	}
	ready := corev1.DownwardAPIVolumeFile{
		Path: "ready", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['tekton.dev/ready']"},
	}
	return append(volumes,
		corev1.Volume{Name: internalVolume + "downward", VolumeSource: corev1.VolumeSource{
			DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{ready}},
		}},
		corev1.Volume{Name: "tekton-creds-init-home-0", VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory},
		}})
}
