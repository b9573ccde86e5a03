// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"fmt"
	"strings"

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
	return []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: KindPipelineRun, Name: "release", UID: uid,
		Controller: &yes}}
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
	return Child{Kind: KindTaskRun, Name: tr.Name, PipelineTask: tr.Labels[pipeline.PipelineTaskLabelKey],
		Verdict: verify.Verified, TaskRun: tr}
}

// release is a PipelineRun in which deploy, and notify at the end, take what build gave.
func release() *Tree {
	pr := &v1.PipelineRun{ObjectMeta: metav1.ObjectMeta{Name: "release", Namespace: "ci", UID: releaseUID}}
	spec := &v1.PipelineSpec{
		Tasks: []v1.PipelineTask{
			{Name: "build", TaskRef: &v1.TaskRef{Name: "build"}, Params: v1.Params{param("branch", text("main"))}},
			{
				Name: "deploy", TaskRef: &v1.TaskRef{Name: "deploy"},
				Params: v1.Params{
					param("image", text("app@$(tasks.build.results.digest)")), param("tags", text("$(tasks.build.results.tags[*])")),
					param("first", text("$(tasks.build.results.tags[0])")),
					param("commit", text("$(tasks.build.results.source.commit)")),
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
			{Name: "digest", Value: text("$(tasks.build.results.digest)")},
			{Name: "tags", Value: text("$(tasks.build.results.tags[*])")},
		},
	}
	pr.Spec.PipelineSpec, pr.Status.PipelineSpec = spec.DeepCopy(), spec
	pr.Status.Status = done()
	pr.Status.Results = []v1.PipelineRunResult{{Name: "digest", Value: text("sha256:1")},
		{Name: "tags", Value: list("v1", "latest")}}
	source := v1.ParamValue{Type: v1.ParamTypeObject, ObjectVal: map[string]string{"commit": "8f3c",
		"url": "https://git.example"}}
	build := taskRun("build", v1.Params{param("branch", text("main"))},
		result("digest", text("sha256:1")), result("tags", list("v1", "latest")), result("source", source))
	deploy := taskRun("deploy", v1.Params{
		param("image", text("app@sha256:1")), param("tags", list("v1", "latest")), param("first", text("v1")),
		param("commit", text("8f3c")), param("source", source),
	})
	notify := taskRun("notify", v1.Params{param("text", text("Succeeded: sha256:1"))})
	return &Tree{PipelineRun: pr, Children: []Child{childOf(build), childOf(deploy), childOf(notify)}}
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
