// SPDX-License-Identifier: Apache-2.0

//go:build !race && linux

package corpus_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/pipelines"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// treeOf returns a PipelineRun that succeeded, whose pipeline is in its status and spec.
func treeOf() *pipelines.Tree {
	pr := &v1.PipelineRun{ObjectMeta: metav1.ObjectMeta{Name: "release", Namespace: "ci", UID: "u"}}
	pr.Status.Status = succeeded()
	pr.Spec.PipelineSpec = &v1.PipelineSpec{}
	pr.Status.PipelineSpec = pr.Spec.PipelineSpec
	return &pipelines.Tree{PipelineRun: pr}
}

func succeeded() duckv1.Status {
	return duckv1.Status{Conditions: duckv1.Conditions{{Type: apis.ConditionSucceeded, Status: "True"}}}
}

func stringParam(name, value string) v1.Param {
	return v1.Param{Name: name, Value: v1.ParamValue{Type: v1.ParamTypeString, StringVal: value}}
}

func shortResult(name string) v1.TaskRunResult {
	return v1.TaskRunResult{Name: name, Type: v1.ResultsTypeString, Value: stringParam("", "x").Value}
}

func arrayParam(name string, values ...string) v1.Param {
	return v1.Param{Name: name, Value: v1.ParamValue{Type: v1.ParamTypeArray, ArrayVal: values}}
}

// addTask adds a task to the pipeline.
func addTask(f *pipelines.Tree, task v1.PipelineTask) {
	if task.TaskSpec == nil {
		task.TaskRef = &v1.TaskRef{Name: "t", Kind: v1.NamespacedTaskKind}
	}
	f.PipelineRun.Spec.PipelineSpec.Tasks = append(f.PipelineRun.Spec.PipelineSpec.Tasks, task)
}

// addRun adds a verified child of a task.
func addRun(f *pipelines.Tree, task string, spec *v1.TaskSpec, params v1.Params, results ...v1.TaskRunResult) {
	yes := true
	name := fmt.Sprintf("release-%s-%d", task, len(f.Children))
	tr := &v1.TaskRun{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID(name), Labels: map[string]string{pipeline.PipelineTaskLabelKey: task},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: "release", UID: "u", Controller: &yes,
		}},
	}}
	tr.Spec.Params, tr.Spec.TaskSpec = params, spec
	if spec == nil {
		tr.Spec.TaskRef = &v1.TaskRef{Name: "t", Kind: v1.NamespacedTaskKind}
	}
	tr.Status.Status, tr.Status.Results = succeeded(), results
	f.Children = append(f.Children, pipelines.Child{
		Kind: "TaskRun", Name: name, PipelineTask: task, Verdict: verify.Verified, TaskRun: tr,
	})
}

// times calls f n times.
func times(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}

// giving adds a task a with a run of n results.
func giving(f *pipelines.Tree, n int) {
	addTask(f, v1.PipelineTask{Name: "a"})
	var results []v1.TaskRunResult
	times(n, func(i int) { results = append(results, shortResult(fmt.Sprint("r", i))) })
	addRun(f, "a", nil, nil, results...)
}

// matrixOf returns a task a of n runs.
func matrixOf(n int, value func(i int) string) v1.PipelineTask {
	var values []string
	times(n, func(i int) { values = append(values, value(i)) })
	return v1.PipelineTask{Name: "a", Matrix: &v1.Matrix{Params: v1.Params{arrayParam("m", values...)}}}
}

// taking adds a parameter that uses a result, and the value of a run for it.
func taking(params, got *v1.Params, i int, reference string) {
	*params = append(*params, stringParam(fmt.Sprint("p", i), reference))
	*got = append(*got, stringParam(fmt.Sprint("p", i), "x"))
}

// grownTrees are PipelineRuns with something that can be repeated in an API server.
var grownTrees = []struct {
	name string
	most int
	grow func(f *pipelines.Tree, n int)
	want verify.Verdict
}{
	{"tasks, each of which takes a result", 8000, func(f *pipelines.Tree, n int) {
		times(n, func(i int) {
			params := v1.Params{stringParam("p", fmt.Sprintf("$(tasks.t%d.results.r)", i-1))}
			got := v1.Params{stringParam("p", "x")}
			if i == 0 {
				params, got = nil, nil
			}
			addTask(f, v1.PipelineTask{Name: fmt.Sprint("t", i), Params: params})
			addRun(f, fmt.Sprint("t", i), nil, got, shortResult("r"))
		})
	}, verify.Verified},
	{"tasks, of which one takes all results", 8000, func(f *pipelines.Tree, n int) {
		var params, got v1.Params
		times(n, func(i int) {
			addTask(f, v1.PipelineTask{Name: fmt.Sprint("t", i)})
			addRun(f, fmt.Sprint("t", i), nil, nil, shortResult("r"))
			taking(&params, &got, i, fmt.Sprintf("$(tasks.t%d.results.r)", i))
		})
		addTask(f, v1.PipelineTask{Name: "last", Params: params})
		addRun(f, "last", nil, got)
	}, verify.Verified},
	{"tasks that failed nothing and were skipped", 16000, func(f *pipelines.Tree, n int) {
		times(n, func(i int) {
			addTask(f, v1.PipelineTask{Name: fmt.Sprint("t", i)})
			skipped := v1.SkippedTask{Name: fmt.Sprint("t", i)}
			f.PipelineRun.Status.SkippedTasks = append(f.PipelineRun.Status.SkippedTasks, skipped)
		})
	}, verify.NoResults},
	{"children of one task", 8000, func(f *pipelines.Tree, n int) {
		addTask(f, v1.PipelineTask{Name: "a"})
		times(n, func(int) { addRun(f, "a", nil, nil) })
	}, verify.Failed},
	{"children of another PipelineRun", 8000, func(f *pipelines.Tree, n int) {
		times(n, func(i int) {
			addTask(f, v1.PipelineTask{Name: fmt.Sprint("t", i)})
			addRun(f, fmt.Sprint("t", i), nil, nil)
			f.Children[i].TaskRun.OwnerReferences = nil
		})
	}, verify.Failed},
	{"children that are missing, and who takes of them", 8000, func(f *pipelines.Tree, n int) {
		times(n, func(i int) {
			addTask(f, v1.PipelineTask{Name: fmt.Sprint("t", i), Params: v1.Params{stringParam("p", "$(tasks.t0.results.r)")}})
			f.Children = append(f.Children, pipelines.Child{
				Kind: "TaskRun", Name: fmt.Sprint("c", i), PipelineTask: fmt.Sprint("t", i), Missing: "gone",
			})
		})
	}, verify.Indeterminate},
	{"strays", 8000, func(f *pipelines.Tree, n int) {
		times(n, func(i int) {
			f.Strays = append(f.Strays, &v1.TaskRun{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("s", i)}})
		})
	}, verify.Failed},
	{"runs of a matrix", 1024, func(f *pipelines.Tree, n int) {
		addTask(f, matrixOf(n, func(i int) string { return fmt.Sprint("v", i) }))
		times(n, func(i int) {
			addRun(f, "a", nil, v1.Params{stringParam("m", fmt.Sprint("v", i))}, shortResult("r"))
		})
	}, verify.Verified},
	{"runs of a matrix that none fits", 1024, func(f *pipelines.Tree, n int) {
		addTask(f, matrixOf(n, func(i int) string { return fmt.Sprint("v", i) }))
		times(n, func(i int) { addRun(f, "a", nil, v1.Params{stringParam("m", fmt.Sprint("w", i))}) })
	}, verify.Failed},
	{"runs of a matrix that take how others ended", 1024, func(f *pipelines.Tree, n int) {
		addTask(f, v1.PipelineTask{Name: "b"})
		addRun(f, "b", nil, nil)
		addTask(f, matrixOf(n, func(i int) string { return fmt.Sprintf("$(tasks.b.status)-%d", i) }))
		times(n, func(i int) { addRun(f, "a", nil, v1.Params{stringParam("m", fmt.Sprintf("Succeeded-%d", n-1-i))}) })
	}, verify.Verified},
	{"parameters of a matrix", 250, func(f *pipelines.Tree, n int) {
		task := matrixOf(1024, func(i int) string { return fmt.Sprint("v", i) })
		times(n, func(i int) { task.Params = append(task.Params, stringParam(fmt.Sprint("p", i), "x")) })
		addTask(f, task)
		times(1024, func(i int) {
			addRun(f, "a", nil, append(v1.Params{stringParam("m", fmt.Sprint("v", i))}, task.Params...))
		})
	}, verify.Verified},
	{"results, and parameters that take them", 16000, func(f *pipelines.Tree, n int) {
		giving(f, n)
		var params, got v1.Params
		times(n, func(i int) {
			taking(&params, &got, i, fmt.Sprintf("$(tasks.a.results.r%d)", i))
		})
		addTask(f, v1.PipelineTask{Name: "b", Params: params})
		addRun(f, "b", nil, got)
	}, verify.Verified},
	{"elements of a result, and texts that take them", 16000, func(f *pipelines.Tree, n int) {
		addTask(f, v1.PipelineTask{Name: "a"})
		array := arrayParam("", make([]string, n)...).Value
		addRun(f, "a", nil, nil, v1.TaskRunResult{Name: "r", Type: v1.ResultsTypeArray, Value: array})
		var texts []string
		times(n, func(int) { texts = append(texts, "$(tasks.a.results.r[*])") })
		addTask(f, v1.PipelineTask{Name: "b", Params: v1.Params{arrayParam("p", texts...)}})
		addRun(f, "b", nil, nil)
	}, verify.Indeterminate},
	{"results, and embedded Tasks that take them", 8000, func(f *pipelines.Tree, n int) {
		giving(f, n)
		spec, ran := &v1.TaskSpec{Steps: []v1.Step{{Name: "s"}}}, &v1.TaskSpec{Steps: []v1.Step{{Name: "s"}}}
		times(n, func(i int) {
			spec.Steps[0].Args = append(spec.Steps[0].Args, fmt.Sprintf("$(tasks.a.results.r%d)", i))
			ran.Steps[0].Args = append(ran.Steps[0].Args, "x")
		})
		addTask(f, v1.PipelineTask{Name: "b", TaskSpec: &v1.EmbeddedTask{TaskSpec: *spec}})
		addRun(f, "b", ran, nil)
	}, verify.Verified},
	{"tasks that embed their Tasks", 4000, func(f *pipelines.Tree, n int) {
		times(n, func(i int) {
			spec := &v1.TaskSpec{Steps: []v1.Step{{Name: "s", Script: "$(tasks.t0.results.r)"}}}
			if i == 0 {
				spec.Steps[0].Script = ""
			}
			ran := spec.DeepCopy()
			ran.Steps[0].Script = strings.Repeat("x", min(i, 1))
			addTask(f, v1.PipelineTask{Name: fmt.Sprint("t", i), TaskSpec: &v1.EmbeddedTask{TaskSpec: *spec}})
			addRun(f, fmt.Sprint("t", i), ran, nil, shortResult("r"))
		})
	}, verify.Verified},
	{"results of the pipeline", 16000, func(f *pipelines.Tree, n int) {
		giving(f, n)
		times(n, func(i int) {
			f.PipelineRun.Spec.PipelineSpec.Results = append(f.PipelineRun.Spec.PipelineSpec.Results, v1.PipelineResult{
				Name: fmt.Sprint("p", i), Value: stringParam("", fmt.Sprintf("$(tasks.a.results.r%d)", i)).Value,
			})
			result := v1.PipelineRunResult{Name: fmt.Sprint("p", i), Value: stringParam("", "x").Value}
			f.PipelineRun.Status.Results = append(f.PipelineRun.Status.Results, result)
		})
	}, verify.Verified},
	{"references in a result of the pipeline", 16000, func(f *pipelines.Tree, n int) {
		var text strings.Builder
		times(n, func(i int) {
			addTask(f, v1.PipelineTask{Name: fmt.Sprint("t", i)})
			addRun(f, fmt.Sprint("t", i), nil, nil, shortResult("r"))
			fmt.Fprintf(&text, "$(tasks.t%d.results.r)", i)
		})
		declared, given := stringParam("", text.String()).Value, stringParam("", strings.Repeat("x", n)).Value
		f.PipelineRun.Spec.PipelineSpec.Results = []v1.PipelineResult{{Name: "p", Value: declared}}
		f.PipelineRun.Status.Results = []v1.PipelineRunResult{{Name: "p", Value: given}}
	}, verify.Verified},
	{"workspaces, and tasks that use them", 4000, func(f *pipelines.Tree, n int) {
		giving(f, 1)
		times(n, func(i int) {
			name := fmt.Sprint("w", i)
			binding := v1.WorkspaceBinding{Name: name, SubPath: "$(tasks.a.results.r0)"}
			f.PipelineRun.Spec.Workspaces = append(f.PipelineRun.Spec.Workspaces, binding)
			addTask(f, v1.PipelineTask{
				Name: fmt.Sprint("t", i), Params: v1.Params{stringParam("p", "$(workspaces."+name+".path)")},
				Workspaces: []v1.WorkspacePipelineTaskBinding{{Name: name, Workspace: name}},
			})
			addRun(f, fmt.Sprint("t", i), nil, v1.Params{stringParam("p", "$(workspaces."+name+".path)")})
		})
	}, verify.Verified},
	{"workspaces, and a task that names them", 16000, func(f *pipelines.Tree, n int) {
		giving(f, 1)
		var text strings.Builder
		times(n, func(i int) {
			binding := v1.WorkspaceBinding{Name: fmt.Sprint("w", i), SubPath: "$(tasks.a.results.r0)"}
			f.PipelineRun.Spec.Workspaces = append(f.PipelineRun.Spec.Workspaces, binding)
			fmt.Fprintf(&text, "$(workspaces.w%d.path)", i)
		})
		addTask(f, v1.PipelineTask{Name: "b", Params: v1.Params{stringParam("p", text.String())}})
		addRun(f, "b", nil, v1.Params{stringParam("p", text.String())})
	}, verify.Verified},
	{"when expressions", 8000, func(f *pipelines.Tree, n int) {
		giving(f, 1)
		task := v1.PipelineTask{Name: "b"}
		times(n, func(int) {
			when := v1.WhenExpression{Input: "$(tasks.a.results.r0)", Operator: "in", Values: []string{"x"}}
			task.When = append(task.When, when)
		})
		addTask(f, task)
		addRun(f, "b", nil, nil)
	}, verify.Verified},
	{"when expressions in CEL", 800, func(f *pipelines.Tree, n int) {
		task := v1.PipelineTask{Name: "b"}
		times(n, func(i int) { task.When = append(task.When, v1.WhenExpression{CEL: fmt.Sprintf("'%d' != 'evil'", i)}) })
		addTask(f, task)
		addRun(f, "b", nil, nil, shortResult("r"))
	}, verify.Verified},
	{"tasks with a costly expression in CEL", 800, func(f *pipelines.Tree, n int) {
		const eight = "[1,2,3,4,5,6,7,8].all"
		const costly = eight + "(a, " + eight + "(b, " + eight + "(c, " + eight + "(d, a+b+c+d > 0))))"
		times(n, func(i int) {
			addTask(f, v1.PipelineTask{Name: fmt.Sprint("t", i), When: v1.WhenExpressions{{CEL: costly}}})
			addRun(f, fmt.Sprint("t", i), nil, nil)
		})
	}, verify.Indeterminate},
	{"tasks that take of all others", 400 * 400, func(f *pipelines.Tree, square int) {
		// The length of the pipeline is quadratic in their number.
		n := int(math.Sqrt(float64(square)))
		var texts []string
		times(n, func(i int) { texts = append(texts, fmt.Sprintf("$(tasks.t%d.results.r)", i)) })
		times(n, func(i int) {
			addTask(f, v1.PipelineTask{Name: fmt.Sprint("t", i), Params: v1.Params{arrayParam("p", texts[:i]...)}})
			addRun(f, fmt.Sprint("t", i), nil, v1.Params{arrayParam("p", words(i)...)}, shortResult("r"))
		})
	}, verify.Verified},
}

// words returns n short texts.
func words(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = "x"
	}
	return all
}

// The cost of judging a PipelineRun grows no faster than its size, whatever it is that grows.
func TestGrowthOfPipelineRuns(t *testing.T) {
	for _, g := range grownTrees {
		t.Run(g.name, func(t *testing.T) {
			trees := map[int]*pipelines.Tree{}
			for _, size := range []int{1, larger} {
				trees[size] = treeOf()
				g.grow(trees[size], g.most*size/larger)
			}
			checkGrowth(t, func(size int) {
				if got := pipelines.Judge(*trees[size]); size == larger && got.Verdict != g.want {
					t.Errorf("got %s: %s: %.200s, want %s", got.Verdict, got.Reason, got.Message, g.want)
				}
			})
		})
	}
}
