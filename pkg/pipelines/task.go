// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// CompareTask returns how the Task of a run differs from the one in the pipeline, or nil. task is the task of the
// pipeline before its references are replaced. With nil outputs, fields with references are not compared.
func (o Outputs) CompareTask(task *v1.PipelineTask, tr *v1.TaskRun) (*Difference, error) {
	return (&comparer{outputs: o}).compare(&prepared{task: task}, tr)
}

// comparer compares the Tasks of runs with those in a pipeline. All outputs must be known.
type comparer struct {
	outputs Outputs
	r       *replacer // for embedded Tasks, nil until it is needed
}

func (c *comparer) compare(p *prepared, tr *v1.TaskRun) (*Difference, error) {
	switch task := p.task; {
	case task.TaskRef != nil:
		return c.refs(p, tr.Spec.TaskRef), nil
	case task.TaskSpec != nil && tr.Spec.TaskSpec == nil:
		return &Difference{"Task", "the one embedded in the pipeline", describe(tr.Spec.TaskRef)}, nil
	case task.TaskSpec != nil:
		return c.specs(p, tr.Spec.TaskSpec)
	}
	return &Difference{"Task", "a task that runs as a TaskRun", "TaskRun " + tr.Name}, nil
}

func (c *comparer) refs(p *prepared, got *v1.TaskRef) *Difference {
	if p.applied == nil {
		p.applied = c.outputs.Apply(p.task)
	}
	expected := p.applied.TaskRef
	if got != nil && (sameRef(*expected, *got) || c.outputs == nil && takes(p.task.TaskRef)) {
		return nil
	}
	return &Difference{"Task", describe(expected), describe(got)}
}

func sameRef(a, b v1.TaskRef) bool {
	if len(differing(a.Params, b.Params)) > 0 {
		return false
	}
	for _, ref := range []*v1.TaskRef{&a, &b} {
		ref.Params = nil
		if ref.Resolver == "" {
			ref.Kind = cmp.Or(ref.Kind, v1.NamespacedTaskKind) // Tekton's default
		}
	}
	return reflect.DeepEqual(a, b)
}

// TaskTakes reports whether the Task of a pipeline's task, or the reference to it, depends on other tasks.
func TaskTakes(task *v1.PipelineTask) bool { return takes(task.TaskRef) || takes(task.TaskSpec) }

// takes reports whether a value refers to an output of a task.
func takes(v any) bool {
	text, err := textOf(v)
	return err == nil && taken.MatchString(text)
}

// describe describes a reference to a Task.
func describe(ref *v1.TaskRef) string {
	if ref == nil {
		return "a Task of its own"
	}
	text, err := textOf(ref)
	if err != nil {
		return "what cannot be read"
	}
	return text
}

// specs compares complete embedded Tasks, with Tekton's defaults in both.
func (c *comparer) specs(p *prepared, got *v1.TaskSpec) (*Difference, error) {
	if c.r == nil {
		values, err := c.outputs.propagated()
		if err != nil {
			return nil, err
		}
		c.r = new(values.replacer())
	}
	if p.spec == nil {
		want, err := plain(&p.task.TaskSpec.TaskSpec)
		if err != nil {
			return nil, err
		}
		p.spec = want
	}
	have, err := plain(got)
	if err != nil {
		return nil, err
	}
	if s := (specs{r: *c.r, loose: c.outputs == nil}); !s.same(p.spec, have) {
		place, a, b := s.first("", p.spec, have)
		return &Difference{"Task" + place, a, b}, nil
	}
	return nil, nil
}

// plain returns an embedded Task as JSON values.
func plain(spec *v1.TaskSpec) (any, error) {
	spec = spec.DeepCopy()
	spec.SetDefaults(context.Background())
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("reading an embedded Task: %w", err)
	}
	var value any
	return value, json.Unmarshal(data, &value)
}

// specs compares embedded Tasks as JSON values, after the references of the first were replaced. Tekton replaces
// them in some fields only, so an unchanged reference matches, too.
type specs struct {
	r     replacer
	loose bool // the outputs are not known
}

func (c specs) same(want, have any) bool {
	switch want := want.(type) {
	case string:
		text, ok := have.(string)
		return ok && (c.loose && isTaking(want) || want == text || sameText(c.r.text(want), text))
	case []any:
		list, ok := have.([]any)
		if c.loose && slices.ContainsFunc(want, isTaking) {
			return ok // a reference can become any list
		}
		return ok && (slices.EqualFunc(want, list, c.same) || slices.EqualFunc(c.expand(want), list, c.same))
	case map[string]any:
		fields, ok := have.(map[string]any)
		if !ok || len(want) != len(fields) {
			return false
		}
		for name, value := range want {
			if other, ok := fields[name]; !ok || !c.same(value, other) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(want, have)
}

func isTaking(value any) bool {
	text, ok := value.(string)
	return ok && taken.MatchString(text)
}

// expand replaces references to lists with their elements.
func (c specs) expand(list []any) []any {
	var expanded []any
	for _, element := range list {
		text, ok := element.(string)
		if !ok || !strings.Contains(text, "$(tasks.") {
			expanded = append(expanded, element)
			continue
		}
		for _, part := range c.r.list(text) {
			expanded = append(expanded, part)
		}
	}
	return expanded
}

// first returns the path of the first difference in JSON, and both values there.
func (c specs) first(place string, want, have any) (at, expected, got string) {
	switch want := want.(type) {
	case map[string]any:
		fields, ok := have.(map[string]any)
		if !ok {
			break
		}
		for _, name := range sortedNames(want, fields) {
			a, inWant := want[name]
			b, inHave := fields[name]
			if inWant != inHave || !c.same(a, b) {
				return c.first(place+"."+name, a, b)
			}
		}
	case []any:
		list, ok := have.([]any)
		if !ok || len(list) != len(want) {
			break
		}
		for i := range want {
			if !c.same(want[i], list[i]) {
				return c.first(fmt.Sprintf("%s[%d]", place, i), want[i], list[i])
			}
		}
	}
	return place, jsonOf(want), jsonOf(have)
}

func sortedNames(a, b map[string]any) []string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func jsonOf(value any) string {
	if value == nil {
		return nothing
	}
	text, err := textOf(value)
	if err != nil {
		return "what cannot be read"
	}
	return text
}
