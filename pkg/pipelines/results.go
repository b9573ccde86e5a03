// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"strconv"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/substitution"
)

// PipelineResults returns the results of a pipeline with these outputs. Like Tekton, it omits results that refer to
// absent values.
func (o Outputs) PipelineResults(declared []v1.PipelineResult) []v1.PipelineRunResult {
	var results []v1.PipelineRunResult
	for _, result := range declared {
		known := newReplacements()
		variables, _ := result.GetVarSubstitutionExpressions()
		if len(variables) == 0 {
			continue
		}
		valid := true
		for _, variable := range variables {
			valid = (known.has(variable) || o.resolve(variable, known)) && valid
		}
		if valid {
			value := *result.Value.DeepCopy()
			known.replacer().value(&value)
			results = append(results, v1.PipelineRunResult{Name: result.Name, Value: value})
		}
	}
	return results
}

// sources returns the tasks on which a result of the pipeline depends.
func sources(result v1.PipelineResult) []string {
	var tasks []string
	seen := map[string]bool{}
	variables, _ := result.GetVarSubstitutionExpressions()
	for _, variable := range variables {
		if parts := strings.Split(variable, "."); len(parts) >= 3 && !seen[parts[1]] {
			seen[parts[1]] = true
			tasks = append(tasks, parts[1])
		}
	}
	return tasks
}

func (r replacements) has(variable string) bool {
	_, inStrings := r.strings[variable]
	_, inArrays := r.arrays[variable]
	_, inObjects := r.objects[variable]
	return inStrings || inArrays || inObjects
}

// resolve adds the value of a reference, and reports whether there is one. A reference consists of tasks or finally,
// the task, results, the name of the result with or without an index, and the property of an object.
func (o Outputs) resolve(variable string, known replacements) bool {
	parts := strings.Split(variable, ".")
	if len(parts) != 4 && len(parts) != 5 || parts[2] != v1.ResultResultPart ||
		parts[0] != v1.ResultTaskPart && parts[0] != v1.ResultFinallyPart {
		return false
	}
	output := o[parts[1]]
	name, index := v1.ParseResultName(parts[3])
	value, ok := output.result(name)
	switch {
	case !ok || output.Custom && len(parts) == 5:
		return false
	case len(parts) == 5:
		property, ok := value.ObjectVal[parts[4]]
		if ok {
			known.strings[variable] = property
		}
		return ok
	}
	return known.whole(variable, index, value)
}

// whole adds a result, or an element of one.
func (r replacements) whole(variable, index string, value v1.ParamValue) bool {
	stripped := substitution.StripStarVarSubExpression(variable)
	switch value.Type {
	case v1.ParamTypeObject:
		r.objects[stripped] = value.ObjectVal
	case v1.ParamTypeArray:
		if index == "*" {
			r.arrays[stripped] = value.ArrayVal
			break
		}
		at, _ := strconv.Atoi(index) // without an index Tekton takes the first
		if at >= len(value.ArrayVal) {
			return false
		}
		r.strings[variable] = value.ArrayVal[at]
	case v1.ParamTypeString:
		r.strings[variable] = value.StringVal
	}
	return true
}
