// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"maps"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// Producers returns the sorted names of the tasks from which a task takes results or artifacts: in its parameters,
// matrix, when expressions, the reference to its Task, the Task itself, and workspaces. workspaces are those of the
// PipelineRun.
func Producers(spec *v1.PipelineSpec, task *v1.PipelineTask, workspaces []v1.WorkspaceBinding) ([]string, error) {
	return newProducers(spec, workspaces).of(task)
}

// producers finds the producers of tasks.
type producers struct {
	tasks      map[string]bool // of the pipeline
	workspaces map[string]*workspace
	lengths    []int    // of the names that texts are searched for
	long       []string // names that are too long for that
	err        error
}

// workspace is one of the PipelineRun's workspaces, or several with one name.
type workspace struct{ producers []string }

// maxWorkspaceName is the length of the longest workspace name that texts are searched for. Every task counts as a
// user of a workspace with a longer name.
const maxWorkspaceName = 128

func newProducers(spec *v1.PipelineSpec, bindings []v1.WorkspaceBinding) *producers {
	p := &producers{tasks: map[string]bool{}, workspaces: map[string]*workspace{}}
	for _, task := range Tasks(spec) {
		p.tasks[task.Name] = true
	}
	lengths := map[int]bool{}
	for _, binding := range bindings {
		text, err := textOf(binding)
		if err != nil {
			p.err = err
			return p
		}
		found := p.in(text)
		if len(found) == 0 {
			continue
		}
		if p.workspaces[binding.Name] == nil {
			p.workspaces[binding.Name] = &workspace{}
			if len(binding.Name) > maxWorkspaceName {
				p.long = append(p.long, binding.Name)
			}
		}
		p.workspaces[binding.Name].producers = append(p.workspaces[binding.Name].producers, found...)
		if len(binding.Name) <= maxWorkspaceName {
			lengths[len(binding.Name)] = true
		}
	}
	p.lengths = slices.Sorted(maps.Keys(lengths))
	return p
}

// in returns the tasks of the pipeline whose results or artifacts a text refers to, each once.
func (p *producers) in(text string) []string {
	found := map[string]bool{}
	for _, match := range taken.FindAllStringSubmatch(text, -1) {
		if p.tasks[match[1]] {
			found[match[1]] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// of returns the sorted producers of a task.
func (p *producers) of(task *v1.PipelineTask) ([]string, error) {
	if p.err != nil {
		return nil, p.err
	}
	text, err := textOf(task)
	if err != nil {
		return nil, err
	}
	all := p.in(text)
	for name := range p.used(task, text) {
		all = append(all, p.workspaces[name].producers...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// used returns the workspaces with producers that a task uses: it declares them, or names them in an embedded Task.
func (p *producers) used(task *v1.PipelineTask, text string) map[string]bool {
	used := map[string]bool{}
	use := func(name string) {
		if p.workspaces[name] != nil {
			used[name] = true
		}
	}
	for _, w := range task.Workspaces {
		use(w.Workspace)
		use(w.Name)
	}
	for _, name := range p.long {
		use(name)
	}
	const before = "workspaces."
	for at := strings.Index(text, before); at >= 0 && len(p.lengths) > 0; {
		text = text[at+len(before):]
		for _, length := range p.lengths {
			if length <= len(text) {
				use(text[:length])
			}
		}
		at = strings.Index(text, before)
	}
	return used
}
