// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"fmt"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// children checks that each child belongs to the PipelineRun, and that none is missing.
func (j *judge) children() {
	seen := map[string]bool{}
	for i := range j.Children {
		c := &j.Children[i]
		key := c.Kind + "/" + c.Name
		if seen[key] {
			j.add(CheckChildren, verify.Fail, c.Name, "one reference to it", "two", "the status names one child twice")
		}
		seen[key] = true
		j.child(c)
	}
	if j.completed() {
		j.strays()
		j.numbers()
	}
	j.passed(CheckChildren, "each child is controlled by this PipelineRun, and none is missing")
}

// child checks one child. A child of another PipelineRun does not count.
func (j *judge) child(c *Child) {
	task := j.tasks.find(c.PipelineTask)
	object := c.object()
	switch {
	case task == nil:
		j.add(CheckChildren, verify.Fail, c.Name, "a task of the pipeline", orNothing(c.PipelineTask),
			"no task of the pipeline has this name")
	case object == nil && c.Kind == KindCustomRun && !j.AllowCustomRuns:
		j.custom(c)
	case object == nil:
		j.add(CheckChildren, verify.Unknown, c.Name, "", "", c.Missing)
	case !Controls(j.PipelineRun.UID, object):
		j.add(CheckChildren, verify.Fail, c.Name, fmt.Sprintf("controlled by PipelineRun %s, UID %s", j.PipelineRun.Name,
			j.PipelineRun.UID),
			"controlled by "+Controller(object), "it is not a child of this PipelineRun")
	case object.GetLabels()[pipeline.PipelineTaskLabelKey] != c.PipelineTask:
		j.add(CheckChildren, verify.Fail, c.Name, "task "+c.PipelineTask,
			"task "+orNothing(object.GetLabels()[pipeline.PipelineTaskLabelKey]),
			"its label names another task than the PipelineRun's status")
	case c.CustomRun != nil:
		j.custom(c)
	}
}

func (j *judge) custom(c *Child) {
	if j.AllowCustomRuns {
		j.add(CheckChildren, verify.Note, c.Name, "", "",
			"a custom run, allowed by --allow-custom-runs: only its controller vouches for its results")
		j.caveats = append(j.caveats, "custom runs are allowed: nothing proves the results of "+c.Name)
		return
	}
	j.add(CheckChildren, verify.Unknown, c.Name, "", "",
		"a custom run does not prove its results: if you trust its controller, allow it with --allow-custom-runs")
}

func orNothing(text string) string {
	if text == "" {
		return nothing
	}
	return text
}

// strays checks that every object that has the PipelineRun as an owner is in the status.
func (j *judge) strays() {
	for _, stray := range j.Strays {
		j.add(CheckChildren, verify.Fail, stray.GetName(), "named by the PipelineRun's status", "not named",
			"it has the PipelineRun as an owner, as task "+orNothing(stray.GetLabels()[pipeline.PipelineTaskLabelKey]))
	}
}

// numbers checks that each task has one child, unless it was skipped or did not run.
func (j *judge) numbers() {
	for _, task := range Tasks(j.spec) {
		n := len(j.tasks.childrenOf(task.Name))
		switch {
		case n > 1 && !task.IsMatrixed():
			j.add(CheckChildren, verify.Fail, task.Name, "one child", fmt.Sprint(n), "one task has several children")
		case n == 0 && j.succeeded() && !j.skipped[task.Name]:
			j.add(CheckChildren, verify.Unknown, task.Name, "", "",
				"the PipelineRun succeeded, but its status does not name a child for this task")
		}
	}
}

// own reports whether a child passed the checks of children.
func (j *judge) own(c *Child) bool {
	return c.object() != nil && !j.bad[c.Name] && !j.bad[c.PipelineTask]
}

// collect gathers the outputs of the tasks.
func (j *judge) collect() {
	for _, task := range Tasks(j.spec) {
		if children := j.tasks.childrenOf(task.Name); len(children) > 0 {
			j.outputs[task.Name] = j.output(&task, children)
		}
	}
}

func (j *judge) output(task *v1.PipelineTask, children []*Child) Output {
	var runs []*v1.TaskRun
	open := verify.Status("")
	for _, c := range children {
		switch {
		case !j.own(c) || c.PipelineRun != nil:
			open = verify.Unknown
		case c.CustomRun != nil:
			return CustomOutput(c.CustomRun)
		case c.Verdict == verify.Unsigned && open == "":
			open = verify.Missing
		case c.Verdict != verify.Verified && c.Verdict != verify.NoResults && c.Verdict != verify.Unsigned:
			open = verify.Unknown
		}
		if c.TaskRun != nil {
			runs = append(runs, c.TaskRun)
		}
	}
	if open != "" || len(runs) == 0 {
		return Output{Open: open, Matrix: task.IsMatrixed()}
	}
	return OutputOf(task.IsMatrixed(), runs...)
}

// CustomOutput returns the output of a custom run.
func CustomOutput(run *CustomRun) Output {
	out := Output{Custom: true}
	for _, r := range run.Status.Results {
		out.Results = append(out.Results, v1.TaskRunResult{
			Name: r.Name, Type: v1.ResultsTypeString, Value: v1.ParamValue{Type: v1.ParamTypeString, StringVal: r.Value},
		})
	}
	return out.indexed()
}
