// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

const releaseUID types.UID = "release-uid"

func text(value string) v1.ParamValue {
	return v1.ParamValue{Type: v1.ParamTypeString, StringVal: value}
}

func list(values ...string) v1.ParamValue {
	return v1.ParamValue{Type: v1.ParamTypeArray, ArrayVal: values}
}

func param(name string, value v1.ParamValue) v1.Param { return v1.Param{Name: name, Value: value} }

func result(name string, value v1.ParamValue) v1.TaskRunResult {
	return v1.TaskRunResult{Name: name, Type: v1.ResultsType(value.Type), Value: value}
}

func done() duckv1.Status {
	return duckv1.Status{Conditions: duckv1.Conditions{{Type: apis.ConditionSucceeded, Status: "True"}}}
}

func ownedBy(uid types.UID) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: KindPipelineRun, Name: "release", UID: uid, Controller: &yes}}
}

func taskRun(task string, params v1.Params, results ...v1.TaskRunResult) *v1.TaskRun {
	tr := &v1.TaskRun{ObjectMeta: metav1.ObjectMeta{
		Name: "release-" + task, UID: types.UID(task), OwnerReferences: ownedBy(releaseUID),
		Labels: map[string]string{pipeline.PipelineRunLabelKey: "release", pipeline.PipelineTaskLabelKey: task},
	}}
	tr.Spec.Params, tr.Spec.TaskRef = params, &v1.TaskRef{Name: task, Kind: v1.NamespacedTaskKind}
	tr.Status.Status, tr.Status.Results = done(), results
	return tr
}

func childOf(tr *v1.TaskRun) Child {
	return Child{Kind: KindTaskRun, Name: tr.Name, PipelineTask: tr.Labels[pipeline.PipelineTaskLabelKey], Verdict: verify.Verified, TaskRun: tr}
}

// release is a PipelineRun in which deploy, and notify at the end, take what build gave.
func release() *Family {
	pr := &v1.PipelineRun{ObjectMeta: metav1.ObjectMeta{Name: "release", Namespace: "ci", UID: releaseUID}}
	spec := &v1.PipelineSpec{
		Tasks: []v1.PipelineTask{
			{Name: "build", TaskRef: &v1.TaskRef{Name: "build"}, Params: v1.Params{param("branch", text("main"))}},
			{
				Name: "deploy", TaskRef: &v1.TaskRef{Name: "deploy"},
				Params: v1.Params{
					param("image", text("app@$(tasks.build.results.digest)")), param("tags", text("$(tasks.build.results.tags[*])")),
					param("first", text("$(tasks.build.results.tags[0])")), param("commit", text("$(tasks.build.results.source.commit)")),
					param("source", text("$(tasks.build.results.source[*])")),
				},
				When: v1.WhenExpressions{
					{Input: "$(tasks.build.results.digest)", Operator: "in", Values: []string{"sha256:1"}},
					{CEL: "'$(tasks.build.results.digest)' != 'evil'"},
				},
			},
		},
		Finally: []v1.PipelineTask{{
			Name: "notify", TaskRef: &v1.TaskRef{Name: "notify"},
			Params: v1.Params{param("text", text("$(tasks.status): $(tasks.build.results.digest)"))},
		}},
		Results: []v1.PipelineResult{
			{Name: "digest", Value: text("$(tasks.build.results.digest)")}, {Name: "tags", Value: text("$(tasks.build.results.tags[*])")},
		},
	}
	pr.Spec.PipelineSpec, pr.Status.PipelineSpec = spec.DeepCopy(), spec
	pr.Status.Status = done()
	pr.Status.Results = []v1.PipelineRunResult{{Name: "digest", Value: text("sha256:1")}, {Name: "tags", Value: list("v1", "latest")}}
	source := v1.ParamValue{Type: v1.ParamTypeObject, ObjectVal: map[string]string{"commit": "8f3c", "url": "https://git.example"}}
	build := taskRun("build", v1.Params{param("branch", text("main"))},
		result("digest", text("sha256:1")), result("tags", list("v1", "latest")), result("source", source))
	deploy := taskRun("deploy", v1.Params{
		param("image", text("app@sha256:1")), param("tags", list("v1", "latest")), param("first", text("v1")),
		param("commit", text("8f3c")), param("source", source),
	})
	notify := taskRun("notify", v1.Params{param("text", text("Succeeded: sha256:1"))})
	return &Family{PipelineRun: pr, Children: []Child{childOf(build), childOf(deploy), childOf(notify)}}
}

// found lists the checks that are not passed, as status:id:child:result.
func found(j Judgement) string {
	var all []string
	for _, c := range j.Checks {
		if c.Status != verify.Pass {
			all = append(all, strings.TrimRight(fmt.Sprintf("%s:%s:%s:%s", c.Status, c.ID, c.Child, c.Result), ":"))
		}
	}
	return strings.Join(all, " ")
}

func TestJudge(t *testing.T) {
	tr := func(f *Family, i int) *v1.TaskRun { return f.Children[i].TaskRun }
	custom := func(f *Family) {
		run := &CustomRun{ObjectMeta: tr(f, 0).ObjectMeta}
		for _, r := range tr(f, 0).Status.Results {
			value := r.Value.StringVal
			if r.Value.Type == v1.ParamTypeArray {
				value = `["v1","latest"]`
			}
			run.Status.Results = append(run.Status.Results, CustomResult{r.Name, value})
		}
		run.Spec.Params = tr(f, 0).Spec.Params
		f.Children[0] = Child{Kind: KindCustomRun, Name: "release-build", PipelineTask: "build", CustomRun: run}
		for _, spec := range []*v1.PipelineSpec{f.PipelineRun.Spec.PipelineSpec, f.PipelineRun.Status.PipelineSpec} {
			spec.Results = spec.Results[:1]
			spec.Tasks[1].Params = spec.Tasks[1].Params[:3]
		}
		f.PipelineRun.Status.Results = f.PipelineRun.Status.Results[:1]
		tr(f, 1).Spec.Params = tr(f, 1).Spec.Params[:3]
	}
	for name, c := range map[string]struct {
		change func(*Family)
		want   verify.Verdict
		reason string
		found  string
	}{
		"as it ran": {func(*Family) {}, verify.Verified, "", ""},

		// Who is a child.
		"of another PipelineRun": {
			func(f *Family) { tr(f, 0).OwnerReferences = ownedBy("other") }, verify.Failed, "children",
			"fail:children:release-build unknown:inputs:release-deploy unknown:inputs:release-notify unknown:pipeline-results::digest unknown:pipeline-results::tags",
		},
		"of nobody, with the future name": {
			func(f *Family) { tr(f, 2).OwnerReferences = nil }, verify.Failed, "children", "fail:children:release-notify",
		},
		"owned, not controlled": {
			func(f *Family) { tr(f, 2).OwnerReferences[0].Controller = nil }, verify.Failed, "children", "fail:children:release-notify",
		},
		"controlled by something else with the UID": {
			func(f *Family) { tr(f, 2).OwnerReferences[0].Kind = "ConfigMap" }, verify.Failed, "children", "fail:children:release-notify",
		},
		"made before Tekton's: another Task": {
			func(f *Family) {
				tr(f, 0).Spec.TaskRef, tr(f, 0).Spec.TaskSpec = nil, &v1.TaskSpec{Steps: []v1.Step{{Name: "evil"}}}
			}, verify.Failed, "task", "fail:task:release-build",
		},
		"a cluster task of the name": {
			func(f *Family) { tr(f, 0).Spec.TaskRef.Kind = "ClusterTask" }, verify.Failed, "task", "fail:task:release-build",
		},
		"made before Tekton's: other parameters": {
			func(f *Family) { tr(f, 0).Spec.Params[0].Value = text("evil") }, verify.Failed, "inputs", "fail:inputs:release-build:branch",
		},
		"one parameter more": {
			func(f *Family) { tr(f, 0).Spec.Params = append(tr(f, 0).Spec.Params, param("more", text(""))) },
			verify.Failed, "inputs", "fail:inputs:release-build:more",
		},
		"a parameter twice": {
			func(f *Family) { tr(f, 0).Spec.Params = append(tr(f, 0).Spec.Params, tr(f, 0).Spec.Params[0]) },
			verify.Failed, "inputs", "fail:inputs:release-build:branch",
		},
		"another task by its label": {
			func(f *Family) { tr(f, 2).Labels[pipeline.PipelineTaskLabelKey] = "build" }, verify.Failed, "children", "fail:children:release-notify",
		},
		"another task by the reference": {
			func(f *Family) { f.Children[2].PipelineTask = "evil" }, verify.Failed, "children", "fail:children:release-notify unknown:children:notify",
		},
		"not named by the status": {
			func(f *Family) { f.Strays = []metav1.Object{taskRun("build", nil)} }, verify.Failed, "children", "fail:children:release-build " +
				"unknown:inputs:release-deploy unknown:inputs:release-notify unknown:pipeline-results::digest unknown:pipeline-results::tags",
		},
		"two for one task": {
			func(f *Family) {
				second := f.Children[2]
				second.Name = "another"
				f.Children = append(f.Children, second)
			}, verify.Failed, "children", "fail:children:notify",
		},
		"named twice": {
			func(f *Family) { f.Children = append(f.Children, f.Children[2]) }, verify.Failed, "children",
			"fail:children:release-notify fail:children:notify",
		},
		"gone": {
			func(f *Family) {
				f.Children[2] = Child{Kind: KindTaskRun, Name: "n", PipelineTask: "notify", Missing: "gone"}
			},
			verify.Indeterminate, "children", "unknown:children:n",
		},
		"gone with its reference": {
			func(f *Family) { f.Children = f.Children[:2] }, verify.Indeterminate, "children", "unknown:children:notify",
		},
		"skipped": {
			func(f *Family) {
				f.Children = f.Children[:2]
				f.PipelineRun.Status.SkippedTasks = []v1.SkippedTask{{Name: "notify"}}
			}, verify.Verified, "", "",
		},
		"a custom run": {
			func(f *Family) {
				f.Children[2] = Child{Kind: KindCustomRun, Name: "n", PipelineTask: "notify"}
			}, verify.Indeterminate, "children", "unknown:children:n",
		},
		"a custom run that is read": {
			custom, verify.Indeterminate, "children", "unknown:children:release-build unknown:inputs:release-deploy " +
				"unknown:inputs:release-notify unknown:pipeline-results::digest",
		},
		"an allowed custom run": {
			func(f *Family) { custom(f); f.AllowCustomRuns = true }, verify.Verified, "custom-runs-allowed", "note:children:release-build",
		},
		"an allowed custom run of somebody else": {
			func(f *Family) {
				custom(f)
				f.AllowCustomRuns, f.Children[0].CustomRun.OwnerReferences = true, ownedBy("other")
			}, verify.Failed, "children", "fail:children:release-build unknown:inputs:release-deploy unknown:inputs:release-notify " +
				"unknown:pipeline-results::digest",
		},
		"an unknown kind": {
			func(f *Family) { f.Children[2] = Child{Kind: "Run", Name: "n", PipelineTask: "notify"} },
			verify.Indeterminate, "children", "unknown:children:n",
		},

		// What they took.
		"another digest": {
			func(f *Family) { tr(f, 1).Spec.Params[0].Value = text("app@evil") }, verify.Failed, "inputs", "fail:inputs:release-deploy:image",
		},
		"a list with one more": {
			func(f *Family) { tr(f, 1).Spec.Params[1].Value = list("v1", "latest", "evil") }, verify.Failed, "inputs", "fail:inputs:release-deploy:tags",
		},
		"another element": {
			func(f *Family) { tr(f, 1).Spec.Params[2].Value = text("latest") }, verify.Failed, "inputs", "fail:inputs:release-deploy:first",
		},
		"another property": {
			func(f *Family) { tr(f, 1).Spec.Params[3].Value = text("evil") }, verify.Failed, "inputs", "fail:inputs:release-deploy:commit",
		},
		"another object": {
			func(f *Family) {
				tr(f, 1).Spec.Params[4].Value = v1.ParamValue{Type: v1.ParamTypeObject, ObjectVal: map[string]string{"commit": "8f3c"}}
			}, verify.Failed, "inputs", "fail:inputs:release-deploy:source",
		},
		"a text in place of a list": {
			func(f *Family) { tr(f, 1).Spec.Params[1].Value = text(`["v1","latest"]`) }, verify.Failed, "inputs", "fail:inputs:release-deploy:tags",
		},
		"in finally": {
			func(f *Family) { tr(f, 2).Spec.Params[0].Value = text("Succeeded: evil") }, verify.Failed, "inputs", "fail:inputs:release-notify:text",
		},
		"in finally, another state": {
			func(f *Family) { tr(f, 2).Spec.Params[0].Value = text("Failed: sha256:1") }, verify.Verified, "", "",
		},
		"in finally, more than a state": {
			func(f *Family) { tr(f, 2).Spec.Params[0].Value = text("Failed; evil: sha256:1") }, verify.Failed, "inputs", "fail:inputs:release-notify:text",
		},
		"it was not to run": {
			func(f *Family) {
				for _, spec := range []*v1.PipelineSpec{f.PipelineRun.Spec.PipelineSpec, f.PipelineRun.Status.PipelineSpec} {
					spec.Tasks[1].When[0].Values = []string{"sha256:2"}
				}
			}, verify.Failed, "when", "fail:when:release-deploy",
		},
		"nor by its CEL": {
			func(f *Family) {
				for _, spec := range []*v1.PipelineSpec{f.PipelineRun.Spec.PipelineSpec, f.PipelineRun.Status.PipelineSpec} {
					spec.Tasks[1].When[1].CEL = "'$(tasks.build.results.digest)' == 'evil'"
				}
			}, verify.Failed, "when", "fail:when:release-deploy",
		},

		// What came of it.
		"another result": {
			func(f *Family) { f.PipelineRun.Status.Results[0].Value = text("evil") }, verify.Failed, "pipeline-results", "fail:pipeline-results::digest",
		},
		"a result that nobody declared": {
			func(f *Family) {
				f.PipelineRun.Status.Results = append(f.PipelineRun.Status.Results, v1.PipelineRunResult{Name: "evil", Value: text("x")})
			}, verify.Failed, "pipeline-results", "fail:pipeline-results::evil",
		},
		"a result twice": {
			func(f *Family) {
				f.PipelineRun.Status.Results = append(f.PipelineRun.Status.Results, f.PipelineRun.Status.Results[0])
			}, verify.Failed, "pipeline-results", "fail:pipeline-results::digest",
		},
		"a result less": {
			func(f *Family) { f.PipelineRun.Status.Results = f.PipelineRun.Status.Results[:1] }, verify.Failed, "pipeline-results", "fail:pipeline-results::tags",
		},
		"a result less, and it failed": {
			func(f *Family) {
				f.PipelineRun.Status.Conditions[0].Status, f.PipelineRun.Status.Results = "False", nil
			}, verify.Verified, "", "",
		},

		// The pipeline, and verdicts.
		"the status names other sources": {
			func(f *Family) { f.PipelineRun.Status.PipelineSpec.Tasks[1].Params[0].Value = text("evil") }, verify.Failed, "pipeline",
			"fail:pipeline fail:inputs:release-deploy:image",
		},
		"the status holds no pipeline": {
			func(f *Family) { f.PipelineRun.Status.PipelineSpec = nil }, verify.Indeterminate, "pipeline", "unknown:pipeline",
		},
		"the status holds results alone": {
			func(f *Family) { f.PipelineRun.Status.PipelineSpec, f.Children = nil, nil }, verify.Indeterminate, "pipeline", "unknown:pipeline",
		},
		"a child that fails": {
			func(f *Family) { f.Children[2].Verdict = verify.Failed }, verify.Failed, ReasonChild, "",
		},
		"an unsigned producer": {
			func(f *Family) { f.Children[0].Verdict = verify.Unsigned }, verify.Unsigned, "inputs",
			"missing:inputs:release-deploy missing:inputs:release-notify missing:pipeline-results::digest missing:pipeline-results::tags",
		},
		"a child without results":    {func(f *Family) { f.Children[2].Verdict = verify.NoResults }, verify.Verified, "", ""},
		"nothing but such":           {noResults, verify.NoResults, "", ""},
		"a child without a verdict":  {func(f *Family) { f.Children[2].Verdict = "NEW" }, verify.Failed, ReasonChild, ""},
		"a PipelineRun that runs on": {func(f *Family) { f.PipelineRun.Status.Conditions = nil }, verify.Indeterminate, "children", "unknown:children"},
	} {
		t.Run(name, func(t *testing.T) {
			f := release()
			c.change(f)
			j := Judge(*f)
			if j.Verdict != c.want || j.Reason != c.reason || found(j) != c.found {
				t.Errorf("got  %s, %s: %s\nwant %s, %s: %s", j.Verdict, j.Reason, found(j), c.want, c.reason, c.found)
			}
			for _, check := range j.Checks {
				if check.Status == verify.Fail && (check.Expected == "" || check.Got == "") {
					t.Errorf("%s fails without what was expected and got: %+v", check.ID, check)
				}
			}
		})
	}
}

func noResults(f *Family) {
	f.PipelineRun.Status.PipelineSpec = &v1.PipelineSpec{Tasks: f.PipelineRun.Status.PipelineSpec.Tasks[:1]}
	f.PipelineRun.Spec.PipelineSpec = f.PipelineRun.Status.PipelineSpec
	f.PipelineRun.Status.Results = nil
	f.Children = f.Children[:1]
	f.Children[0].Verdict, f.Children[0].TaskRun.Status.Results = verify.NoResults, nil
}

// matrixRun is a PipelineRun with a task that runs once for each platform, and one that takes all of their results.
func matrixRun() *Family {
	pr := &v1.PipelineRun{ObjectMeta: metav1.ObjectMeta{Name: "release", UID: releaseUID}}
	pr.Status.Status = done()
	pr.Status.PipelineSpec = &v1.PipelineSpec{Tasks: []v1.PipelineTask{
		{
			Name: "build", TaskRef: &v1.TaskRef{Name: "build"},
			Matrix: &v1.Matrix{Params: v1.Params{param("platform", list("linux", "mac"))}},
		},
		{Name: "index", TaskRef: &v1.TaskRef{Name: "index"}, Params: v1.Params{param("digests", list("$(tasks.build.results.digest[*])"))}},
	}}
	f := &Family{PipelineRun: pr}
	for i, platform := range []string{"linux", "mac"} {
		tr := taskRun("build", v1.Params{param("platform", text(platform))}, result("digest", text("sha256:"+platform)))
		tr.Name = fmt.Sprintf("build-%d", i)
		f.Children = append(f.Children, childOf(tr))
	}
	f.Children = append(f.Children, childOf(taskRun("index", v1.Params{param("digests", list("sha256:linux", "sha256:mac"))})))
	return f
}

func TestJudgeMatrix(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Family)
		want   verify.Verdict
		found  string
	}{
		"as it ran":        {func(*Family) {}, verify.Verified, ""},
		"in another order": {func(f *Family) { slices.Reverse(f.Children) }, verify.Verified, ""},
		"a run less":       {func(f *Family) { f.Children = f.Children[1:] }, verify.Failed, "fail:children:build unknown:inputs:index"},
		"the same run twice": {
			func(f *Family) { f.Children[1].TaskRun.Spec.Params = f.Children[0].TaskRun.Spec.Params }, verify.Failed, "fail:children:build-1",
		},
		"another parameter": {
			func(f *Family) { f.Children[1].TaskRun.Spec.Params[0].Value = text("evil") }, verify.Failed, "fail:inputs:build-1:platform",
		},
		"another digest is taken": {
			func(f *Family) { f.Children[2].TaskRun.Spec.Params[0].Value = list("sha256:linux", "evil") }, verify.Failed, "fail:inputs:release-index:digests",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := matrixRun()
			c.change(f)
			j := Judge(*f)
			if j.Verdict != c.want || (c.found != "" && !strings.HasPrefix(found(j), strings.Fields(c.found)[0])) || c.found == "" && found(j) != "" {
				t.Errorf("got  %s: %s\nwant %s: %s", j.Verdict, found(j), c.want, c.found)
			}
		})
	}
}

// TestJudgeNested looks at a PipelineRun that a pipeline runs.
func TestJudgeNested(t *testing.T) {
	inline := &v1.PipelineSpec{Tasks: []v1.PipelineTask{{Name: "a"}}}
	for name, c := range map[string]struct {
		task v1.PipelineTask
		spec v1.PipelineRunSpec
		want string
	}{
		"named":         {v1.PipelineTask{PipelineRef: &v1.PipelineRef{Name: "inner"}}, v1.PipelineRunSpec{PipelineRef: &v1.PipelineRef{Name: "inner"}}, ""},
		"another":       {v1.PipelineTask{PipelineRef: &v1.PipelineRef{Name: "inner"}}, v1.PipelineRunSpec{PipelineRef: &v1.PipelineRef{Name: "evil"}}, "fail:task:inner"},
		"of its own":    {v1.PipelineTask{PipelineRef: &v1.PipelineRef{Name: "inner"}}, v1.PipelineRunSpec{PipelineSpec: inline}, "fail:task:inner"},
		"embedded":      {v1.PipelineTask{PipelineSpec: inline}, v1.PipelineRunSpec{PipelineSpec: inline}, ""},
		"one task more": {v1.PipelineTask{PipelineSpec: inline}, v1.PipelineRunSpec{PipelineSpec: &v1.PipelineSpec{Tasks: make([]v1.PipelineTask, 2)}}, "fail:task:inner"},
		"a task":        {v1.PipelineTask{TaskRef: &v1.TaskRef{Name: "t"}}, v1.PipelineRunSpec{PipelineRef: &v1.PipelineRef{Name: "t"}}, "fail:task:inner"},
		"parameters": {
			v1.PipelineTask{PipelineRef: &v1.PipelineRef{Name: "inner"}},
			v1.PipelineRunSpec{PipelineRef: &v1.PipelineRef{Name: "inner"}, Params: v1.Params{param("a", text("b"))}}, "fail:inputs:inner:a",
		},
	} {
		c.task.Name = "inner"
		pr := &v1.PipelineRun{ObjectMeta: metav1.ObjectMeta{Name: "release", UID: releaseUID}}
		pr.Status.Status, pr.Status.PipelineSpec = done(), &v1.PipelineSpec{Tasks: []v1.PipelineTask{c.task}}
		inner := &v1.PipelineRun{ObjectMeta: taskRun("inner", nil).ObjectMeta, Spec: c.spec}
		j := Judge(Family{PipelineRun: pr, Children: []Child{
			{Kind: KindPipelineRun, Name: "inner", PipelineTask: "inner", Verdict: verify.Verified, PipelineRun: inner},
		}})
		if found(j) != c.want || (j.Verdict == verify.Verified) != (c.want == "") {
			t.Errorf("%s: got %s: %s, want %s", name, j.Verdict, found(j), c.want)
		}
	}
}

// TestProducers finds what a task takes of others wherever it names it.
func TestProducers(t *testing.T) {
	const taking = "$(tasks.build.results.digest)"
	spec := &v1.PipelineSpec{Tasks: []v1.PipelineTask{{Name: "build"}}}
	binding := v1.WorkspaceBinding{Name: "cache", SubPath: taking}
	for name, c := range map[string]struct {
		task v1.PipelineTask
		want string
	}{
		"parameter":         {v1.PipelineTask{Params: v1.Params{param("a", text(taking))}}, "build"},
		"in brackets":       {v1.PipelineTask{Params: v1.Params{param("a", text(`$(tasks.build.results["digest"])`))}}, "build"},
		"matrix":            {v1.PipelineTask{Matrix: &v1.Matrix{Params: v1.Params{param("a", list(taking))}}}, "build"},
		"when":              {v1.PipelineTask{When: v1.WhenExpressions{{CEL: "'" + taking + "' == ''"}}}, "build"},
		"name of the Task":  {v1.PipelineTask{TaskRef: &v1.TaskRef{Name: taking}}, "build"},
		"resolver":          {v1.PipelineTask{TaskRef: &v1.TaskRef{ResolverRef: v1.ResolverRef{Params: v1.Params{param("a", text(taking))}}}}, "build"},
		"script":            {v1.PipelineTask{TaskSpec: &v1.EmbeddedTask{TaskSpec: v1.TaskSpec{Steps: []v1.Step{{Script: taking}}}}}, "build"},
		"artifact":          {v1.PipelineTask{Params: v1.Params{param("a", text("$(tasks.build.outputs.image)"))}}, "build"},
		"workspace":         {v1.PipelineTask{Workspaces: []v1.WorkspacePipelineTaskBinding{{Name: "w", Workspace: "cache"}}}, "build"},
		"own sub-path":      {v1.PipelineTask{Workspaces: []v1.WorkspacePipelineTaskBinding{{Name: "w", SubPath: taking}}}, "build"},
		"another workspace": {v1.PipelineTask{Workspaces: []v1.WorkspacePipelineTaskBinding{{Name: "w", Workspace: "other"}}}, ""},
		"a state":           {v1.PipelineTask{Params: v1.Params{param("a", text("$(tasks.build.status)"))}}, ""},
		"no such task":      {v1.PipelineTask{Params: v1.Params{param("a", text("$(tasks.other.results.digest)"))}}, ""},
	} {
		got, err := Producers(spec, &c.task, []v1.WorkspaceBinding{binding})
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %v, %v, want %q", name, got, err, c.want)
		}
	}
}

// TestCheckSize refuses what would become too large, before it does.
func TestCheckSize(t *testing.T) {
	f := release()
	f.Children[0].TaskRun.Status.Results[0].Value.StringVal = strings.Repeat("x", 1<<20)
	f.PipelineRun.Status.PipelineSpec.Finally[0].Params[0].Value.StringVal = strings.Repeat("$(tasks.build.results.digest)", 20_000)
	f.PipelineRun.Status.PipelineSpec.Results[0].Value.StringVal = strings.Repeat("$(tasks.build.results.digest)", 20_000)
	j := Judge(*f)
	for _, want := range []string{"unknown:inputs:release-notify", "unknown:pipeline-results"} {
		if !strings.Contains(found(j), want) {
			t.Errorf("got %s, want %s", found(j), want)
		}
	}
}

// TestCompareSpecs compares embedded Tasks.
func TestCompareSpecs(t *testing.T) {
	spec := func(script string, more ...v1.Step) *v1.TaskSpec {
		return &v1.TaskSpec{Steps: append([]v1.Step{{Name: "s", Script: script}}, more...)}
	}
	outputs := Outputs{"build": {Results: []v1.TaskRunResult{result("digest", text("sha256:1"))}}}
	const script = "use $(tasks.build.results.digest)"
	for name, c := range map[string]struct {
		outputs Outputs
		got     *v1.TaskSpec
		same    bool
	}{
		"replaced":               {outputs, spec("use sha256:1"), true},
		"as it stood":            {outputs, spec(script), true},
		"another value":          {outputs, spec("use evil"), false},
		"one step more":          {outputs, spec("use sha256:1", v1.Step{Name: "evil"}), false},
		"no Task":                {outputs, nil, false},
		"not known":              {nil, spec("use anything"), true},
		"not known, a step more": {nil, spec("use anything", v1.Step{Name: "evil"}), false},
	} {
		task := &v1.PipelineTask{TaskSpec: &v1.EmbeddedTask{TaskSpec: *spec(script)}}
		d, err := c.outputs.CompareTask(task, &v1.TaskRun{Spec: v1.TaskRunSpec{TaskSpec: c.got}})
		if err != nil || (d == nil) != c.same {
			t.Errorf("%s: got %+v, %v", name, d, err)
		}
	}
}

// TestSameText: where a state is referred to, any word fits, as a pattern would have it.
func TestSameText(t *testing.T) {
	parts := []string{"", "a", "-", "a-", "-a", "a-a", "$(tasks.x.status)", "$(tasks.status)", "$(tasks.x.results.y)", ")"}
	texts := []string{"", "a", "-", "b", "a-", "aa-", "a-a", "-a", "a-a-a", "ab-ab", "a)", "$(tasks.x.results.y)", "$(tasks.x.results.y)a", "é"}
	same := 0
	for i := range 10_000 {
		expected := parts[i%10] + parts[i/10%10] + parts[i/100%10] + parts[i/1000]
		pattern, from := `\A`, 0
		for _, at := range state.FindAllStringIndex(expected, -1) {
			pattern, from = pattern+regexp.QuoteMeta(expected[from:at[0]])+`[A-Za-z0-9]*`, at[1]
		}
		words := regexp.MustCompile(pattern + regexp.QuoteMeta(expected[from:]) + `\z`)
		for _, got := range texts {
			want := words.MatchString(got)
			if sameText(expected, got) != want {
				t.Errorf("%q and %q: want %t", expected, got, want)
			}
			if want {
				same++
			}
		}
	}
	if same < 1000 {
		t.Errorf("only %d were the same", same)
	}
}

// TestCountDiffering counts what differing finds.
func TestCountDiffering(t *testing.T) {
	names, values := []string{"a", "b", "c"}, []string{"1", "2"}
	pick := func(n int) (params v1.Params) {
		for range n % 4 {
			n /= 4
			params = append(params, param(names[n%3], text(values[n/3%2])))
		}
		return params
	}
	for i := range 300 {
		for k := range 300 {
			expected, got := pick(i), pick(k)
			n := len(differing(expected, got))
			if counted := countDiffering(expected, got, byName(got)); (counted == 0) != (n == 0) {
				t.Fatalf("%v and %v: counted %d, want %d", expected, got, counted, n)
			}
			a, known := keyOf(expected)
			b, also := keyOf(got)
			if same := known && also && a == b; same != (n == 0) {
				t.Fatalf("%v and %v: one key: %t, want %d differences", expected, got, same, n)
			}
		}
	}
}
