// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Outputs are the outputs of a pipeline's tasks, by task name. A task that has not ended is not in it.
type Outputs map[string]Output

// Output is the output of one task.
type Output struct {
	Results   []v1.TaskRunResult
	Artifacts *v1.Artifacts
	Custom    bool // of a custom run: each value is a string, and Tekton can read it as a list
	Matrix    bool // of several runs: each result is the list of their results
	Failed    bool // the run failed
	// Open is why the values are not known: the status of each check that needs them. It is empty if they are verified.
	Open verify.Status

	places map[string]int // of the results, by name; nil until indexed
	most   int            // set by indexed, see largest
}

// indexed returns the output with an index of its results and their largest size.
func (o Output) indexed() Output {
	o.most, o.places = o.largest(), make(map[string]int, len(o.Results))
	for i, r := range o.Results {
		if _, ok := o.places[r.Name]; !ok {
			o.places[r.Name] = i
		}
	}
	return o
}

// OutputOf returns the output of the completed runs of one task. A matrix can have several.
func OutputOf(matrix bool, runs ...*v1.TaskRun) Output {
	if !matrix {
		return Output{Results: runs[0].Status.Results, Artifacts: runs[0].Status.Artifacts, Failed: failed(runs[0])}.indexed()
	}
	runs = slices.SortedFunc(slices.Values(runs), func(a, b *v1.TaskRun) int { return cmp.Compare(a.Name, b.Name) })
	values, order := map[string][]string{}, []string{}
	out := Output{Matrix: true} // Tekton merges artifacts of a matrix in no fixed order
	for _, run := range runs {
		out.Failed = out.Failed || failed(run)
		for _, r := range run.Status.Results {
			if _, ok := values[r.Name]; !ok {
				order = append(order, r.Name)
			}
			values[r.Name] = append(values[r.Name], r.Value.StringVal)
		}
	}
	for _, name := range order {
		out.Results = append(out.Results, v1.TaskRunResult{
			Name: name, Type: v1.ResultsTypeArray, Value: v1.ParamValue{Type: v1.ParamTypeArray, ArrayVal: values[name]},
		})
	}
	return out.indexed()
}

func failed(tr *v1.TaskRun) bool { return tr.Status.GetCondition(apis.ConditionSucceeded).IsFalse() }

// elementSize is the size of an element without its text.
const elementSize = 16

// largest returns the size of the largest result or artifacts, in bytes.
func (o Output) largest() int {
	if o.places != nil {
		return o.most
	}
	size := 0
	if text, err := textOf(o.Artifacts); err == nil {
		size = len(text)
	}
	for _, r := range o.Results {
		sum := len(r.Value.StringVal)
		for _, element := range r.Value.ArrayVal {
			sum += len(element) + elementSize
		}
		for key, element := range r.Value.ObjectVal {
			sum += len(key) + len(element) + elementSize
		}
		size = max(size, sum)
	}
	return size
}

// result returns the value of a result as the Task declares it.
func (o Output) result(name string) (v1.ParamValue, bool) {
	if o.places != nil {
		at, ok := o.places[name]
		if !ok {
			return v1.ParamValue{}, false
		}
		return o.Results[at].Value, true
	}
	for _, r := range o.Results {
		if r.Name == name {
			return r.Value, true
		}
	}
	return v1.ParamValue{}, false
}

// input returns the value of a result as another task gets it: a custom run's list of texts in JSON becomes a list.
func (o Output) input(name string) (v1.ParamValue, bool) {
	value, ok := o.result(name)
	var list []string
	if ok && o.Custom && json.Unmarshal([]byte(value.StringVal), &list) == nil && len(list) > 0 {
		return v1.ParamValue{Type: v1.ParamTypeArray, ArrayVal: list}, true
	}
	return value, ok
}

// replacements are the values that Tekton puts in the place of references.
type replacements struct {
	strings map[string]string
	arrays  map[string][]string
	objects map[string]map[string]string
}

func newReplacements() replacements {
	return replacements{map[string]string{}, map[string][]string{}, map[string]map[string]string{}}
}

// referred returns the replacements for all references of a task, in every notation that Tekton knows.
func (o Outputs) referred(task *v1.PipelineTask) replacements {
	r := newReplacements()
	seen := map[[2]string]bool{}
	for _, ref := range v1.PipelineTaskResultRefs(task.DeepCopy()) {
		name := [2]string{ref.PipelineTask, ref.Result}
		if seen[name] {
			continue
		}
		seen[name] = true
		if value, ok := o[ref.PipelineTask].input(ref.Result); ok {
			r.add(ref, value)
		}
	}
	return r
}

func (r replacements) add(ref *v1.ResultRef, value v1.ParamValue) {
	results := "tasks." + ref.PipelineTask + ".results"
	for _, form := range []struct{ whole, key string }{
		{results + "." + ref.Result, ".%s"},
		{fmt.Sprintf("%s[%q]", results, ref.Result), "[%s]"},
		{fmt.Sprintf("%s['%s']", results, ref.Result), "[%s]"},
	} {
		switch value.Type {
		case v1.ParamTypeArray:
			r.arrays[form.whole] = value.ArrayVal
			for i, element := range value.ArrayVal {
				r.strings[fmt.Sprintf("%s[%d]", form.whole, i)] = element
			}
		case v1.ParamTypeObject:
			r.objects[form.whole] = value.ObjectVal
			for key, element := range value.ObjectVal {
				r.strings[form.whole+fmt.Sprintf(form.key, key)] = element
			}
		case v1.ParamTypeString:
			r.strings[form.whole] = value.StringVal
		default:
			r.strings[form.whole] = value.StringVal
		}
	}
}

// propagated returns the replacements in an embedded Task: the results and artifacts of every task that has run.
func (o Outputs) propagated() (replacements, error) {
	r := newReplacements()
	for name, output := range o {
		if output.Custom {
			continue
		}
		for _, result := range output.Results {
			key := "tasks." + name + ".results." + result.Name
			switch result.Type {
			case v1.ResultsTypeString:
				r.strings[key] = result.Value.StringVal
			case v1.ResultsTypeArray:
				r.arrays[key] = result.Value.ArrayVal
			case v1.ResultsTypeObject:
				for property, value := range result.Value.ObjectVal {
					r.strings[key+"."+property] = value
				}
			}
		}
		if err := r.addArtifacts("tasks."+name, output.Artifacts); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r replacements) addArtifacts(task string, artifacts *v1.Artifacts) error {
	if artifacts == nil {
		return nil
	}
	for kind, list := range map[string][]v1.Artifact{"inputs": artifacts.Inputs, "outputs": artifacts.Outputs} {
		for i, artifact := range list {
			values, err := json.Marshal(artifact.Values)
			if err != nil {
				return fmt.Errorf("reading artifact %s: %w", artifact.Name, err)
			}
			r.strings[task+"."+kind+"."+artifact.Name] = string(values)
			if i == 0 {
				r.strings[task+"."+kind] = string(values)
			}
		}
	}
	return nil
}
