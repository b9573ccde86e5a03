// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"fmt"
	"maps"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// ran checks what a child of the PipelineRun ran, and with which values.
func (j *judge) ran(c *Child) {
	p := j.tasks[c.PipelineTask]
	if p == nil || !j.own(c) {
		return
	}
	j.prepare(p)
	if p.unknown != nil {
		j.add(CheckInputs, verify.Unknown, c.Name, "", "", p.unknown.Error())
		return
	}
	if j.open(c, p.producers) {
		return
	}
	if p.tooMuch != nil {
		j.add(CheckInputs, verify.Unknown, c.Name, "", "", p.tooMuch.Error())
		return
	}
	switch {
	case c.TaskRun != nil:
		j.task(c, p)
	case c.PipelineRun != nil:
		j.nested(c, p.task)
	}
	j.when(c, p)
	j.inputs(c, p)
}

// open adds a check for each producer whose values are not known, and reports whether there are any.
func (j *judge) open(c *Child, producers []string) bool {
	if j.lookups += len(producers); j.lookups > maxLookups {
		j.add(CheckInputs, verify.Unknown, c.Name, "", "",
			fmt.Sprintf("expected children that take results from at most %d tasks in total, got more", maxLookups))
		return true
	}
	open := false
	for _, name := range producers {
		output, ok := j.outputs[name]
		switch {
		case !ok:
			j.add(CheckInputs, verify.Unknown, c.Name, "", "", fmt.Sprintf("it takes results of task %s, which has no child",
				name))
		case output.Open != "":
			j.add(CheckInputs, output.Open, c.Name, "", "", fmt.Sprintf("it takes results of task %s, which are not verified",
				name))
		default:
			continue
		}
		open = true
	}
	return open
}

func (j *judge) task(c *Child, p *prepared) {
	difference, err := j.comparer.compare(p, c.TaskRun)
	switch {
	case err != nil:
		j.add(CheckTask, verify.Unknown, c.Name, "", "", err.Error())
	case difference != nil:
		j.add(CheckTask, verify.Fail, c.Name, difference.Expected, difference.Got,
			"it ran another Task than the pipeline names: "+difference.What)
	default:
		j.add(CheckTask, verify.Pass, c.Name, "", "", "it ran the Task that the pipeline names")
	}
}

// nested checks that a child PipelineRun ran the pipeline of its task.
func (j *judge) nested(c *Child, task *v1.PipelineTask) {
	got := c.PipelineRun.Spec
	switch {
	case task.PipelineSpec != nil && got.PipelineSpec != nil:
		if d := ComparePipelines(task.PipelineSpec, got.PipelineSpec); d != nil {
			j.add(CheckTask, verify.Fail, c.Name, d.Expected, d.Got, "it ran another pipeline than the task embeds: "+d.What)
			return
		}
	case task.PipelineRef == nil || jsonOf(task.PipelineRef) != jsonOf(got.PipelineRef):
		j.add(CheckTask, verify.Fail, c.Name, jsonOf(task.PipelineRef), jsonOf(got.PipelineRef),
			"it ran another pipeline than the task names")
		return
	}
	j.add(CheckTask, verify.Pass, c.Name, "", "", "it ran the pipeline that the task names")
}

func (j *judge) when(c *Child, p *prepared) {
	switch {
	case p.refuseErr != nil:
		j.add(CheckWhen, verify.Unknown, c.Name, "", "", p.refuseErr.Error())
	case p.refusing != nil:
		j.add(CheckWhen, verify.Fail, c.Name, "not run", "run",
			"this expression does not allow it to run: "+jsonOf(p.refusing))
	}
}

// inputs compares the child's parameters with those that the pipeline passes to a run of its task.
func (j *judge) inputs(c *Child, p *prepared) {
	if p.runsErr != nil {
		j.add(CheckInputs, verify.Unknown, c.Name, "", "", p.runsErr.Error())
		return
	}
	if p.task.IsMatrixed() && c == p.children[0] {
		j.combinations(p)
	}
	got := paramsOf(c)
	best, err := j.differences(p.runs, got)
	if err != nil {
		j.add(CheckInputs, verify.Unknown, c.Name, "", "", err.Error())
		return
	}
	for _, d := range best {
		j.checks = append(j.checks, Check{Check: verify.Check{
			ID: CheckInputs, Status: verify.Fail, Result: d.What, Expected: d.Expected, Got: d.Got,
			Message: "this parameter does not match the verified results",
		}, Child: c.Name})
	}
	if len(best) == 0 {
		j.add(CheckInputs, verify.Pass, c.Name, "", "",
			fmt.Sprintf("parameters as the pipeline and the verified results give: %d", len(got)))
	}
}

func paramsOf(c *Child) v1.Params {
	switch {
	case c.TaskRun != nil:
		return c.TaskRun.Spec.Params
	case c.PipelineRun != nil:
		return c.PipelineRun.Spec.Params
	case c.CustomRun != nil:
		return c.CustomRun.Spec.Params
	}
	return nil
}

// CompareRun returns how the parameters of a run differ from those of an applied task, or from the closest
// combination of its matrix.
func CompareRun(applied *v1.PipelineTask, got v1.Params) ([]Difference, error) {
	all, err := Combinations(applied)
	if err != nil {
		return nil, err
	}
	return closest(all, got), nil
}

// CompareKnown is CompareRun for the parameters that do not depend on other tasks.
func CompareKnown(task *v1.PipelineTask, got v1.Params) ([]Difference, error) {
	if takes(task.Matrix) {
		return nil, nil
	}
	taking := map[string]bool{}
	for _, p := range task.Params {
		taking[p.Name] = taking[p.Name] || takes(p)
	}
	applied := Outputs(nil).Apply(task)
	applied.Params = slices.DeleteFunc(applied.Params, func(p v1.Param) bool { return taking[p.Name] })
	return CompareRun(applied, slices.DeleteFunc(slices.Clone(got), func(p v1.Param) bool { return taking[p.Name] }))
}

// closest returns the differences from the combination that has the fewest.
func closest(all []v1.Params, got v1.Params) []Difference {
	if len(all) == 0 {
		return []Difference{{"matrix", "no run", "a run"}}
	}
	best, fewest, values := 0, -1, byName(got)
	for i, params := range all {
		if n := countDiffering(params, got, values); fewest < 0 || n < fewest {
			best, fewest = i, n
		}
	}
	return CompareParams(all[best], got)
}

// results compares the PipelineRun's results with the outputs of its verified children.
func (j *judge) results() {
	if !j.completed() {
		return
	}
	got := map[string]v1.ParamValue{}
	for _, r := range j.PipelineRun.Status.Results {
		if _, twice := got[r.Name]; twice {
			j.result(verify.Fail, r.Name, "one of this name", "two", "two results have the same name")
		}
		got[r.Name] = r.Value
	}
	if err := j.outputs.CheckSize(j.spec.Results); err != nil {
		j.result(verify.Unknown, "", "", "", err.Error())
		return
	}
	expected := map[string]v1.ParamValue{}
	for _, r := range j.outputs.PipelineResults(j.spec.Results) {
		expected[r.Name] = r.Value
	}
	for _, r := range j.spec.Results {
		value, ok := got[r.Name]
		delete(got, r.Name)
		want, wanted := expected[r.Name]
		j.compareResult(r, want, wanted, value, ok)
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		j.result(verify.Fail, name, nothing, show(got[name]), "the pipeline does not declare this result")
	}
}

func (j *judge) result(status verify.Status, name, expected, got, message string) {
	j.checks = append(j.checks, Check{Check: verify.Check{
		ID: CheckResults, Status: status, Result: name, Expected: expected, Got: got, Message: message,
	}})
}

func (j *judge) compareResult(r v1.PipelineResult, want v1.ParamValue, wanted bool, value v1.ParamValue, ok bool) {
	open, certain := j.certain(r)
	switch {
	case open != "" && (ok || j.succeeded()):
		j.result(open, r.Name, "", "", "it depends on results that are not verified")
	case ok && !wanted:
		j.result(verify.Fail, r.Name, nothing, show(value), "it does not come from a verified result")
	case ok && show(want) != show(value):
		j.result(verify.Fail, r.Name, show(want), show(value), "it does not match the verified results")
	case ok:
		j.result(verify.Pass, r.Name, "", "", "it matches the verified results")
	case wanted && certain:
		j.result(verify.Fail, r.Name, show(want), nothing, "the PipelineRun succeeded without it")
	}
}

// certain returns the status of a result that depends on values that are not verified, and whether Tekton must have
// set the result. Tekton omits results of a failed PipelineRun, of failed tasks, and of a matrix that no other task
// uses.
func (j *judge) certain(r v1.PipelineResult) (open verify.Status, certain bool) {
	certain = j.succeeded()
	for _, task := range sources(r) {
		output := j.outputs[task]
		certain = certain && !output.Failed && !output.Matrix
		if output.Open != "" && open != verify.Unknown {
			open = output.Open
		}
	}
	return open, certain
}
