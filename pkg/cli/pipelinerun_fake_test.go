// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

const (
	releaseUID = "9a1b3c5d-0000-4000-8000-000000000001"
	innerUID   = "9a1b3c5d-0000-4000-8000-000000000002"
	runsPath   = "/apis/tekton.dev/v1/namespaces/ci/pipelineruns/"
	customPath = "/apis/tekton.dev/v1beta1/namespaces/ci/customruns/"
)

// adopt makes an object the child of a PipelineRun.
func adopt(object metav1.Object, name string, uid types.UID, task string) {
	controller := true
	object.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: name, UID: uid, Controller: &controller,
	}})
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels["tekton.dev/pipelineRun"], labels["tekton.dev/pipelineTask"] = name, task
	object.SetLabels(labels)
}

func textValue(text string) v1.ParamValue {
	return v1.ParamValue{Type: v1.ParamTypeString, StringVal: text}
}

// fakeRelease returns a completed PipelineRun whose task deploy took the digest that build gave.
func fakeRelease(name string) *v1.PipelineRun {
	spec := v1.EmbeddedTask{TaskSpec: verifytest.NewRun().Spec}
	pr := &v1.PipelineRun{
		TypeMeta:   metav1.TypeMeta{APIVersion: "tekton.dev/v1", Kind: "PipelineRun"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ci", UID: releaseUID},
	}
	pr.Status.Conditions = duckv1.Conditions{{Type: apis.ConditionSucceeded, Status: "True"}}
	pr.Status.PipelineSpec = &v1.PipelineSpec{
		Tasks: []v1.PipelineTask{
			{Name: "build", TaskSpec: spec.DeepCopy()},
			{
				Name: "deploy", TaskSpec: spec.DeepCopy(), OnError: v1.PipelineTaskContinue,
				Params: v1.Params{{Name: "digest", Value: textValue("$(tasks.build.results.IMAGE_DIGEST)")}},
			},
		},
		Results: []v1.PipelineResult{{Name: "digest", Value: textValue("$(tasks.build.results.IMAGE_DIGEST)")}},
	}
	pr.Status.Results = []v1.PipelineRunResult{{Name: "digest", Value: textValue(builtDigest())}}
	pr.Status.ChildReferences = []v1.ChildStatusReference{child("TaskRun", "release-build", "build"),
		child("TaskRun", "release-deploy", "deploy")}
	return pr
}

// builtDigest is what task build gives.
func builtDigest() string { return verifytest.NewRun().Steps[0].Entries[0].Value }

func child(kind, name, task string) v1.ChildStatusReference {
	reference := v1.ChildStatusReference{Name: name, PipelineTaskName: task}
	reference.APIVersion, reference.Kind = "tekton.dev/v1", kind
	return reference
}

// fakePipelineRuns returns PipelineRuns and what they ran beside release-build and release-deploy, by path. But for
// release and outer somebody has changed something.
func fakePipelineRuns(cluster *verifytest.Cluster) (map[string]string, error) {
	answers := map[string]string{}
	for name, change := range map[string]func(*v1.PipelineRun){
		"release":         func(*v1.PipelineRun) {},
		"changed-results": func(pr *v1.PipelineRun) { pr.Status.Results[0].Value = textValue("\x1b[2Kevil") },
		"changed-input": func(pr *v1.PipelineRun) {
			pr.Status.PipelineSpec.Tasks[1].Params[0].Value = textValue("$(tasks.build.results.TAGS[0])")
		},
		"other-task": func(pr *v1.PipelineRun) { pr.Status.PipelineSpec.Tasks[0].TaskSpec.Steps[0].Image = "alpine" },
		"redirected": func(pr *v1.PipelineRun) { pr.Status.ChildReferences[0].Name = "build" },
		"swapped":    func(pr *v1.PipelineRun) { pr.Status.ChildReferences[0].PipelineTaskName = "deploy" },
		"running":    func(pr *v1.PipelineRun) { pr.Status.Conditions = nil },
		"broken": func(pr *v1.PipelineRun) {
			pr.Status.PipelineSpec.Tasks = append(pr.Status.PipelineSpec.Tasks, v1.PipelineTask{Name: "wait"})
			pr.Status.ChildReferences = []v1.ChildStatusReference{
				child("TaskRun", "gone", "build"), child("TaskRun", "build", "deploy"), child("CustomRun", "wait", "wait"),
			}
		},
		"gone":   func(pr *v1.PipelineRun) { pr.Status.ChildReferences[1].Name = "gone" },
		"custom": waits,
		"outer": func(pr *v1.PipelineRun) {
			pr.Status.PipelineSpec.Tasks = []v1.PipelineTask{{Name: "inner", PipelineRef: &v1.PipelineRef{Name: "inner"}}}
			pr.Status.PipelineSpec.Results, pr.Status.Results = nil, nil
			pr.Status.ChildReferences = []v1.ChildStatusReference{child("PipelineRun", "inner", "inner")}
		},
		"inner": func(pr *v1.PipelineRun) {
			adopt(pr, "outer", releaseUID, "inner")
			pr.UID, pr.Spec.PipelineRef = innerUID, &v1.PipelineRef{Name: "inner"}
			pr.Status.PipelineSpec.Tasks = pr.Status.PipelineSpec.Tasks[:1]
			pr.Status.ChildReferences = []v1.ChildStatusReference{child("TaskRun", "inner-build", "build")}
		},
	} {
		pr := fakeRelease(name)
		change(pr)
		answers[runsPath+name] = mustJSON(pr)
	}
	run := verifytest.NewRun()
	run.Name = "inner-build"
	tr, err := run.TaskRun(cluster)
	if err != nil {
		return nil, err
	}
	verifytest.DropCarriers(tr)
	adopt(tr, "inner", innerUID, "build")
	answers[taskRunsPath+"/inner-build"] = mustJSON(tr)
	wait := &v1.PipelineRun{TypeMeta: metav1.TypeMeta{APIVersion: "tekton.dev/v1beta1", Kind: "CustomRun"},
		ObjectMeta: metav1.ObjectMeta{Name: "wait", Namespace: "ci"}}
	adopt(wait, "custom", releaseUID, "wait")
	answers[customPath+"wait"] = mustJSON(wait)
	return answers, nil
}

// waits gives a PipelineRun a custom task.
func waits(pr *v1.PipelineRun) {
	task := v1.PipelineTask{Name: "wait", TaskRef: &v1.TaskRef{APIVersion: "example.dev/v1", Kind: "Wait", Name: "w"}}
	pr.Status.PipelineSpec.Tasks = slices.Concat(pr.Status.PipelineSpec.Tasks, []v1.PipelineTask{task})
	pr.Status.ChildReferences = append(pr.Status.ChildReferences, child("CustomRun", "wait", "wait"))
}
