// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Kinds of children, as status.childReferences calls them.
const (
	KindTaskRun     = "TaskRun"
	KindPipelineRun = "PipelineRun"
	KindCustomRun   = "CustomRun"
)

// Labels by which Tekton marks the children of a PipelineRun.
const (
	LabelPipelineRun  = "tekton.dev/pipelineRun"
	LabelPipelineTask = "tekton.dev/pipelineTask"
)

// Controls reports whether the PipelineRun of this UID is the object's controller, as it is of each child that Tekton makes.
func Controls(uid types.UID, object metav1.Object) bool {
	owner := metav1.GetControllerOf(object)
	return uid != "" && owner != nil && owner.UID == uid && owner.Kind == KindPipelineRun
}

// Claims reports whether the object names the PipelineRun of this UID among its owners: Tekton adopts some of those, too.
func Claims(uid types.UID, object metav1.Object) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return o.UID == uid })
}

// Controller names an object's controller, for people.
func Controller(object metav1.Object) string {
	owner := metav1.GetControllerOf(object)
	if owner == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s, UID %s", owner.Kind, owner.Name, owner.UID)
}

// Tasks returns all tasks of a pipeline, those of finally last.
func Tasks(spec *v1.PipelineSpec) []v1.PipelineTask { return slices.Concat(spec.Tasks, spec.Finally) }

// FindTask returns the task of this name, nil if the pipeline has none.
func FindTask(spec *v1.PipelineSpec, name string) *v1.PipelineTask {
	for _, task := range Tasks(spec) {
		if task.Name == name {
			return &task
		}
	}
	return nil
}

// taken matches the beginning of a reference to what a task gives: results, and artifacts.
var taken = regexp.MustCompile(`\$\(tasks\.([^.\s()\\"]+)\.(?:results|outputs|inputs)`)

// Producers returns the names of the tasks of the pipeline that a task takes results or artifacts of, sorted, wherever it names them:
// parameters, matrix, when, the reference to its Task, the Task itself, workspaces. workspaces are those of the PipelineRun.
func Producers(spec *v1.PipelineSpec, task *v1.PipelineTask, workspaces []v1.WorkspaceBinding) ([]string, error) {
	text, err := textOf(task)
	if err != nil {
		return nil, err
	}
	for _, binding := range workspaces {
		if !uses(task, text, binding.Name) {
			continue
		}
		more, err := textOf(binding)
		if err != nil {
			return nil, err
		}
		text += more
	}
	found := map[string]bool{}
	for _, match := range taken.FindAllStringSubmatch(text, -1) {
		if FindTask(spec, match[1]) != nil {
			found[match[1]] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// uses reports whether a task uses a workspace of the PipelineRun: by declaring it, or by naming it in an embedded Task.
func uses(task *v1.PipelineTask, text, workspace string) bool {
	return strings.Contains(text, "workspaces."+workspace) || slices.ContainsFunc(task.Workspaces,
		func(w v1.WorkspacePipelineTaskBinding) bool { return w.Workspace == workspace || w.Name == workspace })
}

func textOf(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("reading the pipeline: %w", err)
	}
	return string(data), nil
}
