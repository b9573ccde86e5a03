// SPDX-License-Identifier: Apache-2.0

package chains

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Child is a TaskRun of a PipelineRun.
type Child struct {
	Name string
	Run
}

// LabelPipelineRunUID is the label by which Tekton marks the TaskRuns of a PipelineRun. Its value is the PipelineRun's UID.
const LabelPipelineRunUID = "tekton.dev/pipelineRunUID"

// Judge returns the verdict on a completed PipelineRun: Good, once each of its TaskRuns is. children are the TaskRuns that
// belong to it, whether its status names them or not; what the status names beside them cannot be verified.
func Judge(pipelineRun *unstructured.Unstructured, children []Child) (Verdict, string) {
	known := map[string]bool{}
	verdict := Good
	for _, c := range children {
		known[c.Name] = true
		switch {
		case c.Complete && c.Verdict == Bad:
			return Bad, fmt.Sprintf("of TaskRun %s: %s", c.Name, c.Why)
		case !c.Complete || c.Verdict == Pending:
			verdict = Pending
		}
	}
	references, _, err := unstructured.NestedSlice(pipelineRun.Object, "status", "childReferences")
	if err != nil {
		return Bad, "its status cannot be read"
	}
	for _, entry := range references {
		reference, _ := entry.(map[string]any)
		kind, _ := reference["kind"].(string)
		name, _ := reference["name"].(string)
		switch {
		case kind != "TaskRun":
			return Bad, "it ran something else than TaskRuns, whose results nobody verifies"
		case !known[name]:
			return Bad, "one of its TaskRuns is gone"
		}
	}
	return verdict, ""
}
