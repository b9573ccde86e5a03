// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// prepared is what the children of a task are compared with. It is made once for all of them.
type prepared struct {
	task      *v1.PipelineTask
	children  []*Child
	producers []string
	unknown   error // why the producers are not known
	tooMuch   error // why their outputs cannot be put in
	made      bool
	applied   *v1.PipelineTask // with the outputs of the producers
	spec      any              // the embedded Task, as JSON values
	refusing  *v1.WhenExpression
	refuseErr error
	runs      *runs
	runsErr   error
}

// tasks are the tasks of a pipeline by name.
type tasks map[string]*prepared

// tasksOf returns the tasks of a pipeline with their children.
func tasksOf(spec *v1.PipelineSpec, children []Child) tasks {
	all := tasks{}
	for _, task := range Tasks(spec) {
		if all[task.Name] == nil {
			all[task.Name] = &prepared{task: &task}
		}
	}
	for i := range children {
		c := &children[i]
		if p := all[c.PipelineTask]; p != nil {
			p.children = append(p.children, c)
		}
	}
	return all
}

// find returns the task of this name, or nil.
func (t tasks) find(name string) *v1.PipelineTask {
	if p := t[name]; p != nil {
		return p.task
	}
	return nil
}

// childrenOf returns the children of a task.
func (t tasks) childrenOf(task string) []*Child {
	if p := t[task]; p != nil {
		return p.children
	}
	return nil
}

// prepare returns what the children of a task are compared with. All outputs must be known.
func (j *judge) prepare(p *prepared) {
	if p.made {
		return
	}
	p.made = true
	if p.producers, p.unknown = j.producers.of(p.task); p.unknown != nil {
		return
	}
	if p.tooMuch = j.outputs.CheckSize(p.task); p.tooMuch != nil {
		return
	}
	p.applied = j.outputs.Apply(p.task)
	p.refusing, p.refuseErr = j.conditions.refusing(p.applied)
	p.runs, p.runsErr = runsOf(p.applied)
}
