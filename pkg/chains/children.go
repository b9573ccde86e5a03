// SPDX-License-Identifier: Apache-2.0

package chains

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/owner"
)

// Child is a TaskRun that a PipelineRun owns.
type Child struct {
	Name string
	Run
}

// maxReferences is how many runs the status of a PipelineRun may name.
const maxReferences = 2048

// Owns reports whether a PipelineRun is the controller of a TaskRun, by its UID.
func Owns(pipelineRun, taskRun metav1.Object) bool {
	ref := owner.Controller(taskRun, owner.PipelineRun)
	return ref != nil && ref.UID != "" && ref.UID == pipelineRun.GetUID()
}

// References returns the names of the TaskRuns in the status of a PipelineRun. why is set if the status names
// a run that cannot be verified.
func References(pipelineRun *unstructured.Unstructured) (names []string, why string) {
	references, _, err := unstructured.NestedSlice(pipelineRun.Object, "status", "childReferences")
	switch {
	case err != nil:
		return nil, "its status cannot be read"
	case len(references) > maxReferences:
		return nil, fmt.Sprintf("its status names more than %d runs", maxReferences)
	}
	for _, entry := range references {
		reference, _ := entry.(map[string]any)
		kind, _ := reference["kind"].(string)
		name, _ := reference["name"].(string)
		if kind != "TaskRun" || name == "" {
			return nil, "it ran something other than TaskRuns, whose results are not verified"
		}
		names = append(names, name)
	}
	return names, ""
}

// Judge returns the verdict on a completed PipelineRun: Good if each of its TaskRuns is Good. children are
// the TaskRuns that it owns, whether its status names them or not. Someone may have created a child that the
// status does not name, to prevent the provenance. The PipelineRun then waits until that child is verified or
// gone.
func Judge(pipelineRun *unstructured.Unstructured, children []Child) (Verdict, string) {
	names, why := References(pipelineRun)
	if why != "" {
		return Bad, why
	}
	owned := map[string]bool{}
	verdict := Good
	for _, c := range children {
		owned[c.Name] = true
		switch {
		case c.Complete && c.Verdict == Bad && slices.Contains(names, c.Name):
			return Bad, fmt.Sprintf("of TaskRun %s: %s", c.Name, c.Why)
		case !c.Complete || c.Verdict != Good:
			verdict = Pending
		}
	}
	for _, name := range names {
		if !owned[name] {
			return Bad, "one of its TaskRuns is gone, or not its own"
		}
	}
	return verdict, ""
}
