// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/owner"
)

// Kinds of children in status.childReferences.
const (
	KindTaskRun     = "TaskRun"
	KindPipelineRun = "PipelineRun"
	KindCustomRun   = "CustomRun"
)

// marks are the labels that name the PipelineRun and the task of an object, for Tekton and its users.
func marks() []string {
	return []string{pipeline.PipelineRunLabelKey, pipeline.PipelineRunUIDLabelKey, pipeline.PipelineTaskLabelKey,
		pipeline.MemberOfLabelKey}
}

// Relabels returns the first of these labels that the PipelineRun or one of its pipelines overrides, and where it
// does. Both are empty if there is none. In Tekton, the labels of taskRunSpecs and embedded tasks override those
// that Tekton sets.
func Relabels(pr *v1.PipelineRun, specs ...*v1.PipelineSpec) (label, where string) {
	for _, s := range pr.Spec.TaskRunSpecs {
		if s.Metadata != nil {
			if label := marked(s.Metadata.Labels); label != "" {
				return label, "taskRunSpecs of task " + s.PipelineTaskName
			}
		}
	}
	for _, spec := range specs {
		if spec == nil {
			continue
		}
		for _, task := range Tasks(spec) {
			if task.TaskSpec != nil {
				if label := marked(task.TaskSpec.Metadata.Labels); label != "" {
					return label, "the taskSpec of task " + task.Name
				}
			}
		}
	}
	return "", ""
}

func marked(labels map[string]string) string {
	for _, label := range marks() {
		if _, ok := labels[label]; ok {
			return label
		}
	}
	return ""
}

// Controls reports whether the PipelineRun with this UID is the object's controller. It is, for every child that
// Tekton creates.
func Controls(uid types.UID, object metav1.Object) bool {
	ref := owner.Controller(object, owner.PipelineRun)
	return uid != "" && ref != nil && ref.UID == uid
}

// Claims reports whether the object has the PipelineRun with this UID as an owner. Tekton adopts some of these
// objects.
func Claims(uid types.UID, object metav1.Object) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(o metav1.OwnerReference) bool {
		return owner.Is(o, owner.PipelineRun) && o.UID == uid
	})
}

// Controller describes an object's controller.
func Controller(object metav1.Object) string {
	ref := metav1.GetControllerOf(object)
	if ref == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s of %s, UID %s", ref.Kind, ref.Name, ref.APIVersion, ref.UID)
}

// Tasks returns all tasks of a pipeline, and those of finally last.
func Tasks(spec *v1.PipelineSpec) []v1.PipelineTask { return slices.Concat(spec.Tasks, spec.Finally) }

// FindTask returns the task of this name, or nil.
func FindTask(spec *v1.PipelineSpec, name string) *v1.PipelineTask {
	for _, tasks := range [][]v1.PipelineTask{spec.Tasks, spec.Finally} {
		for i := range tasks {
			if tasks[i].Name == name {
				return &tasks[i]
			}
		}
	}
	return nil
}

// taken matches the beginning of a reference to results or artifacts of a task.
var taken = regexp.MustCompile(`\$\(tasks\.([^.\s()\\"]+)\.(?:results|outputs|inputs)`)

func textOf(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("reading the pipeline: %w", err)
	}
	return string(data), nil
}
