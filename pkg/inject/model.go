// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
)

const (
	modelName = "tekton-sign-canary"
	modelUID  = "00000000-0000-4000-8000-000000000000"
)

// Shape is which containers Tekton gives the pod of a TaskRun, and what their entrypoints do.
type Shape struct {
	Steps, Sidecars int
	Scripts         bool     // a step or a sidecar is a script
	WorkingDirs     bool     // Tekton makes the working directory of a step
	Results         []string // of the task, which every step reads at its end
	Compress        bool     // the entrypoint compresses messages
	SidecarLogs     bool     // results travel by the log of one more sidecar
}

// ShapeOf returns which containers Tekton makes for a Task.
func ShapeOf(spec v1.TaskSpec) Shape {
	shape := Shape{Steps: len(spec.Steps), Sidecars: len(spec.Sidecars)}
	var template string
	if spec.StepTemplate != nil {
		template = spec.StepTemplate.WorkingDir
	}
	for _, s := range spec.Steps {
		shape.Scripts = shape.Scripts || s.Script != ""
		shape.WorkingDirs = shape.WorkingDirs || relative(cmp.Or(s.WorkingDir, template))
	}
	for _, s := range spec.Sidecars {
		shape.Scripts = shape.Scripts || s.Script != ""
	}
	for _, r := range spec.Results {
		if r.Value == nil { // others are results of steps
			shape.Results = append(shape.Results, r.Name)
		}
	}
	return shape
}

// relative reports whether Tekton makes a directory for a step: it does so below /workspace (pkg/pod).
func relative(dir string) bool {
	clean := path.Clean(dir)
	return dir != "" && (!path.IsAbs(clean) || strings.HasPrefix(clean, "/workspace/"))
}

// ReleaseImage returns an image reference of the entrypoint of a Tekton release, for models. version may be empty for
// an unknown release.
func ReleaseImage(version string) string { return "tekton/entrypoint:" + cmp.Or(version, "unknown") }

// Model returns a pod with one step, a script, in the form in which Tekton makes it for a task of a pipeline
// (v1.15.0, pkg/pod), with image in all containers. It is for dry runs, which try the injection and whether
// the API server accepts the pod. It fits the strictest Pod Security level and small quotas.
func Model(namespace, image string) *corev1.Pod {
	return ModelOf(namespace, image, Shape{Steps: 1, Scripts: true})
}

// ModelOf returns such a pod with other containers.
func ModelOf(namespace, image string, shape Shape) *corev1.Pod {
	pod := &corev1.Pod{
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
			InitContainers:        modelInit(image, shape),
			Volumes:               modelVolumes(shape.Steps),
		},
	}
	for i := range shape.Steps {
		pod.Spec.Containers = append(pod.Spec.Containers, modelStep(image, i, shape))
	}
	for i := range shape.Sidecars {
		name := fmt.Sprintf("sidecar-%d", i)
		pod.Spec.Containers = append(pod.Spec.Containers, modelContainer(name, image, []string{"sh"}, nil))
	}
	if shape.sidecar() {
		pod.Spec.Containers = append(pod.Spec.Containers, modelContainer(resultsSidecar, image, []string{
			"/ko-app/sidecarlogresults", "-results-dir", "/tekton/results", "-result-names", strings.Join(shape.Results, ","),
			"-step-results", "{}",
		}, nil))
	}
	return pod
}

// sidecar reports whether Tekton adds its results sidecar.
func (s Shape) sidecar() bool { return s.SidecarLogs && len(s.Results) > 0 }

// entrypointArgs returns the entrypoint's arguments that depend on how results travel.
func (s Shape) entrypointArgs() []string {
	var args []string
	if len(s.Results) > 0 {
		args = append(args, "-"+flagResults, strings.Join(s.Results, ","))
	}
	if s.sidecar() {
		args = append(args, "-"+flagResultFrom, sidecarLogs)
	}
	if s.Compress {
		args = append(args, "-"+flagCompress)
	}
	return args
}

func modelInit(image string, shape Shape) []corev1.Container {
	init := []corev1.Container{modelContainer("prepare", image,
		[]string{"/ko-app/entrypoint", "init", "/ko-app/entrypoint", tekton.Entrypoint, stepName(0)}, nil,
		"bin:/tekton/bin", "steps:"+pipeline.StepsDir)}
	if shape.WorkingDirs {
		init = append(init, modelContainer("working-dir-initializer", image, []string{"/ko-app/workingdirinit"}, nil,
			"workspace:/workspace"))
	}
	if shape.Scripts {
		init = append(init, modelContainer("place-scripts", image, []string{"sh"}, []string{"-c", "true"},
			"scripts:/tekton/scripts", "bin:/tekton/bin"))
	}
	return init
}

// stepName returns the name of a step's container. The first one is shown in trials of the injection.
func stepName(i int) string {
	if i == 0 {
		return "step-canary"
	}
	return fmt.Sprintf("step-canary-%d", i)
}

// modelStep returns the step with an index. The first one waits until the pod is ready, and each of the others for the
// step before it.
func modelStep(image string, i int, shape Shape) corev1.Container {
	wait := []string{"-wait_file", "/tekton/downward/ready", "-wait_file_content"}
	if i > 0 {
		wait = []string{"-wait_file", fmt.Sprintf("/tekton/run/%d/out", i-1)}
	}
	run := fmt.Sprintf("/tekton/run/%d", i)
	args := slices.Concat(wait, []string{"-post_file", run + "/out", "-termination_path", "/tekton/termination",
		"-step_metadata_dir", run + "/status"})
	args = append(append(args, shape.entrypointArgs()...), "-entrypoint", "/tekton/scripts/script-0-canary", "--")
	step := modelContainer(stepName(i), image, []string{tekton.Entrypoint}, args,
		fmt.Sprintf("run-%d:%s", i, run), "workspace:/workspace", "home:/tekton/home",
		"results:/tekton/results", "artifacts:/tekton/artifacts")
	for _, place := range []string{
		"scripts:/tekton/scripts", "downward:/tekton/downward", "bin:/tekton/bin", "steps:" + pipeline.StepsDir,
	} {
		mount := modelMount(place)
		mount.ReadOnly = true
		step.VolumeMounts = append(step.VolumeMounts, mount)
	}
	step.VolumeMounts = append(step.VolumeMounts,
		corev1.VolumeMount{Name: fmt.Sprintf("tekton-creds-init-home-%d", i), MountPath: pipeline.CredsDir})
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

func modelVolumes(steps int) []corev1.Volume {
	names := []string{"workspace", "home", "results", "steps", "artifacts", "scripts", "bin"}
	for i := range steps {
		names = append(names, fmt.Sprintf("run-%d", i))
	}
	var volumes []corev1.Volume
	for _, name := range names {
		volumes = append(volumes, corev1.Volume{
			Name: internalVolume + name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
		})
	}
	ready := corev1.DownwardAPIVolumeFile{
		Path: "ready", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['tekton.dev/ready']"},
	}
	volumes = append(volumes, corev1.Volume{Name: internalVolume + "downward", VolumeSource: corev1.VolumeSource{
		DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{ready}},
	}})
	for i := range steps {
		volumes = append(volumes, corev1.Volume{
			Name: fmt.Sprintf("tekton-creds-init-home-%d", i),
			VolumeSource: corev1.VolumeSource{
				EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory},
			},
		})
	}
	return volumes
}
