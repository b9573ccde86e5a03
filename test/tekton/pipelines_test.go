// SPDX-License-Identifier: Apache-2.0

package tekton_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	"github.com/tektoncd/pipeline/pkg/reconciler/pipelinerun/resources"
	taskresources "github.com/tektoncd/pipeline/pkg/reconciler/taskrun/resources"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/pipelines"
)

// maker makes pipelines, and the results of their tasks, from random numbers.
type maker struct{ *rand.Rand }

func (m maker) pick(words ...string) string { return words[m.IntN(len(words))] }

// text returns a text with or without references, some of which do not resolve.
func (m maker) text() string {
	text := m.pick("", "x", "$", "$(", "a-")
	for range m.IntN(3) {
		text += m.reference() + m.pick("", "/", ")", " ")
	}
	return text
}

func (m maker) reference() string {
	task := m.pick("one", "two", "fan", "custom", "absent")
	result := m.pick("text", "list", "map", "none")
	switch m.IntN(9) {
	case 0:
		return "$(context.pipelineTask.retries)"
	case 1:
		return fmt.Sprintf("$(tasks.%s.results.%s[*])", task, result)
	case 2:
		return fmt.Sprintf("$(tasks.%s.results.%s[%d])", task, result, m.IntN(2))
	case 3:
		return fmt.Sprintf("$(tasks.%s.results.%s.%s)", task, result, m.pick("key", "lock"))
	case 4:
		return fmt.Sprintf("$(tasks.%s.results['%s'])", task, result)
	case 5:
		return fmt.Sprintf("$(tasks.%s.results[%q][%s])", task, result, m.pick("0", "key"))
	case 6:
		return fmt.Sprintf("$(finally.%s.results.%s)", task, result)
	}
	return fmt.Sprintf("$(tasks.%s.results.%s)", task, result)
}

func (m maker) value() v1.ParamValue {
	switch m.IntN(4) {
	case 0:
		return v1.ParamValue{Type: v1.ParamTypeArray, ArrayVal: []string{m.text(), m.text()}}
	case 1:
		return v1.ParamValue{Type: v1.ParamTypeObject, ObjectVal: map[string]string{"key": m.text(), "lock": m.text()}}
	case 2:
		return v1.ParamValue{Type: v1.ParamTypeString, StringVal: m.reference()}
	}
	return v1.ParamValue{Type: v1.ParamTypeString, StringVal: m.text()}
}

// chosen returns a value that a step chose, which may look like a reference.
func (m maker) chosen() string {
	return m.pick("", "v1", `["a","b"]`, "$(tasks.one.results.text)", "$(context.pipelineTask.retries)", "$(tasks.status)",
		"[1]", "[]")
}

func (m maker) taskRun(name string) *v1.TaskRun {
	tr := &v1.TaskRun{ObjectMeta: metav1.ObjectMeta{Name: name}}
	tr.Status.Conditions = duckv1.Conditions{{Type: apis.ConditionSucceeded, Status: "True"}}
	for _, r := range []v1.TaskRunResult{
		{Name: "text", Type: v1.ResultsTypeString, Value: v1.ParamValue{Type: v1.ParamTypeString, StringVal: m.chosen()}},
		{
			Name: "list", Type: v1.ResultsTypeArray, Value: v1.ParamValue{Type: v1.ParamTypeArray,
				ArrayVal: []string{m.chosen(), m.chosen()}},
		},
		{
			Name: "map", Type: v1.ResultsTypeObject, Value: v1.ParamValue{Type: v1.ParamTypeObject,
				ObjectVal: map[string]string{"key": m.chosen()}},
		},
	} {
		if m.IntN(4) > 0 {
			tr.Status.Results = append(tr.Status.Results, r)
		}
	}
	return tr
}

func (m maker) consumer() *v1.PipelineTask {
	task := &v1.PipelineTask{
		Name: "consumer", Retries: m.IntN(3), TaskRef: &v1.TaskRef{Name: m.text(),
			ResolverRef: v1.ResolverRef{Params: v1.Params{{Name: "a", Value: m.value()}}}},
		Params: v1.Params{{Name: "a", Value: m.value()}, {Name: "b", Value: m.value()}},
		When:   v1.WhenExpressions{{Input: m.text(), Operator: "in", Values: []string{m.text(), m.reference()}}},
	}
	if m.IntN(3) == 0 {
		task.Matrix = &v1.Matrix{
			Params: v1.Params{{Name: "m", Value: v1.ParamValue{Type: v1.ParamTypeArray,
				ArrayVal: []string{m.text(), m.reference()}}}},
			Include: v1.IncludeParamsList{{Params: v1.Params{{Name: "n",
				Value: v1.ParamValue{Type: v1.ParamTypeString, StringVal: m.text()}}}}},
		}
	}
	return task
}

// world is a pipeline and its results, in Tekton's types and in ours.
type world struct {
	state   resources.PipelineRunState
	outputs pipelines.Outputs
}

func (m maker) world() world {
	one, two, fans := m.taskRun("one"), m.taskRun("two"), []*v1.TaskRun{m.taskRun("fan-1"), m.taskRun("fan-0")}
	custom := &v1beta1.CustomRun{}
	custom.Status.Conditions = duckv1.Conditions{{Type: apis.ConditionSucceeded, Status: "True"}}
	custom.Status.Results = []v1beta1.CustomRunResult{{Name: "text", Value: m.chosen()}, {Name: "list", Value: m.chosen()}}
	mine := &pipelines.CustomRun{}
	for _, r := range custom.Status.Results {
		mine.Status.Results = append(mine.Status.Results, pipelines.CustomResult{Name: r.Name, Value: r.Value})
	}
	matrix := &v1.Matrix{Params: v1.Params{{Name: "x",
		Value: v1.ParamValue{Type: v1.ParamTypeArray, ArrayVal: []string{"1", "2"}}}}}
	task := func(name string) *v1.PipelineTask { return &v1.PipelineTask{Name: name} }
	return world{
		state: resources.PipelineRunState{
			{PipelineTask: task("one"), TaskRunNames: []string{"one"}, TaskRuns: []*v1.TaskRun{one}},
			{PipelineTask: task("two"), TaskRunNames: []string{"two"}, TaskRuns: []*v1.TaskRun{two}},
			{
				PipelineTask: &v1.PipelineTask{Name: "fan", Matrix: matrix}, TaskRunNames: []string{"fan-1", "fan-0"},
				TaskRuns: fans,
			},
			{
				PipelineTask: task("custom"), CustomTask: true, CustomRunNames: []string{"custom"},
				CustomRuns: []*v1beta1.CustomRun{custom},
			},
		},
		outputs: pipelines.Outputs{
			"one": pipelines.OutputOf(false, one), "two": pipelines.OutputOf(false, two),
			"fan": pipelines.OutputOf(true, fans...), "custom": pipelines.CustomOutput(mine),
		},
	}
}

// TestAsTekton compares how references are resolved with Tekton's controller.
func TestAsTekton(t *testing.T) {
	compared := 0
	for seed := range uint64(10_000) {
		m := maker{rand.New(rand.NewPCG(seed, 1))}
		w, task := m.world(), m.consumer()
		target := &resources.ResolvedPipelineTask{PipelineTask: task.DeepCopy()}
		refs, _, err := resources.ResolveResultRef(w.state, target)
		if err != nil {
			continue // Tekton does not run this task
		}
		compared++
		resources.ApplyTaskResults(resources.PipelineRunState{target}, refs)
		want := resources.ApplyPipelineTaskContexts(target.PipelineTask, v1.PipelineRunStatus{},
			&resources.PipelineRunFacts{State: w.state})
		got := w.outputs.Apply(task)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: Tekton's (-) and ours (+):\n%s", seed, diff)
		}
	}
	if compared < 500 {
		t.Errorf("compared %d tasks only", compared)
	}
}

// TestResultsAsTekton compares the results of a pipeline with those that Tekton's controller makes.
func TestResultsAsTekton(t *testing.T) {
	some := 0
	for seed := range uint64(5000) {
		m := maker{rand.New(rand.NewPCG(seed, 2))}
		w := m.world()
		w.state[2].ResultsCache = map[string][]string{} // as if another task uses them
		for _, r := range w.outputs["fan"].Results {
			w.state[2].ResultsCache[r.Name] = r.Value.ArrayVal
		}
		declared := []v1.PipelineResult{{Name: "a", Value: m.value()}, {Name: "b", Value: m.value()}}
		mine := []v1.PipelineResult{*declared[0].DeepCopy(), *declared[1].DeepCopy()}
		want, _ := resources.ApplyTaskResultsToPipelineResults(declared, w.state.GetTaskRunsResults(),
			w.state.GetRunsResults(), nil)
		some += len(want)
		if diff := cmp.Diff(want, w.outputs.PipelineResults(mine)); diff != "" {
			t.Fatalf("seed %d: Tekton's (-) and ours (+):\n%s", seed, diff)
		}
	}
	if some < 500 {
		t.Errorf("compared %d results only", some)
	}
}

// TestTaskAsTekton compares an embedded Task with the one in the TaskRun of Tekton's controller.
func TestTaskAsTekton(t *testing.T) {
	for seed := range uint64(5000) {
		m := maker{rand.New(rand.NewPCG(seed, 3))}
		w := m.world()
		spec := v1.TaskSpec{
			Description: m.text(), Params: v1.ParamSpecs{{Name: "p"}}, Results: []v1.TaskResult{{Name: "r"}},
			Steps: []v1.Step{{Name: "s", Image: m.text(), Script: m.text(), Args: []string{m.reference(), m.text()}}},
		}
		target := &resources.ResolvedPipelineTask{
			PipelineTask: &v1.PipelineTask{}, ResolvedTask: &taskresources.ResolvedTask{TaskSpec: spec.DeepCopy()},
		}
		resources.PropagateResults(target, w.state)
		if err := resources.PropagateArtifacts(target, w.state); err != nil {
			t.Fatal(err)
		}
		outputs := w.outputs
		outputs["fan"] = pipelines.Output{} // Tekton reads those of a matrix only if another task uses them
		tr := &v1.TaskRun{Spec: v1.TaskRunSpec{TaskSpec: target.ResolvedTask.TaskSpec}}
		task := &v1.PipelineTask{TaskSpec: &v1.EmbeddedTask{TaskSpec: spec}}
		difference, err := outputs.CompareTask(task, tr)
		if err != nil || difference != nil {
			t.Fatalf("seed %d: %+v, %v\n%s", seed, difference, err, cmp.Diff(spec, *tr.Spec.TaskSpec))
		}
		tr.Spec.TaskSpec.Steps[0].Script += "; evil"
		if difference, err := outputs.CompareTask(task, tr); err != nil || difference == nil {
			t.Fatalf("seed %d: a changed script passes: %v", seed, err)
		}
	}
}
