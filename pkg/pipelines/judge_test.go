// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"testing"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func TestJudge(t *testing.T) {
	tr := func(f *Tree, i int) *v1.TaskRun { return f.Children[i].TaskRun }
	custom := func(f *Tree) {
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
		change func(*Tree)
		want   verify.Verdict
		reason string
		found  string
	}{
		"as it ran": {func(*Tree) {}, verify.Verified, "", ""},

		// Who is a child.
		"of another PipelineRun": {
			func(f *Tree) { tr(f, 0).OwnerReferences = ownedBy("other") }, verify.Failed, "children",
			"fail:children:release-build unknown:inputs:release-deploy unknown:inputs:release-notify " +
				"unknown:pipeline-results::digest unknown:pipeline-results::tags",
		},
		"of nobody, with the future name": {
			func(f *Tree) { tr(f, 2).OwnerReferences = nil }, verify.Failed, "children", "fail:children:release-notify",
		},
		"owned, not controlled": {
			func(f *Tree) { tr(f, 2).OwnerReferences[0].Controller = nil }, verify.Failed, "children",
			"fail:children:release-notify",
		},
		"controlled by something else with the UID": {
			func(f *Tree) { tr(f, 2).OwnerReferences[0].Kind = "ConfigMap" }, verify.Failed, "children",
			"fail:children:release-notify",
		},
		"made before Tekton's: another Task": {
			func(f *Tree) {
				tr(f, 0).Spec.TaskRef, tr(f, 0).Spec.TaskSpec = nil, &v1.TaskSpec{Steps: []v1.Step{{Name: "evil"}}}
			}, verify.Failed, "task", "fail:task:release-build",
		},
		"a cluster task of the name": {
			func(f *Tree) { tr(f, 0).Spec.TaskRef.Kind = "ClusterTask" }, verify.Failed, "task", "fail:task:release-build",
		},
		"made before Tekton's: other parameters": {
			func(f *Tree) { tr(f, 0).Spec.Params[0].Value = text("evil") }, verify.Failed, "inputs",
			"fail:inputs:release-build:branch",
		},
		"one parameter more": {
			func(f *Tree) { tr(f, 0).Spec.Params = append(tr(f, 0).Spec.Params, param("more", text(""))) },
			verify.Failed, "inputs", "fail:inputs:release-build:more",
		},
		"a parameter twice": {
			func(f *Tree) { tr(f, 0).Spec.Params = append(tr(f, 0).Spec.Params, tr(f, 0).Spec.Params[0]) },
			verify.Failed, "inputs", "fail:inputs:release-build:branch",
		},
		"another task by its label": {
			func(f *Tree) { tr(f, 2).Labels[pipeline.PipelineTaskLabelKey] = "build" }, verify.Failed, "children",
			"fail:children:release-notify",
		},
		"another task by the reference": {
			func(f *Tree) { f.Children[2].PipelineTask = "evil" }, verify.Failed, "children",
			"fail:children:release-notify unknown:children:notify",
		},
		"not named by the status": {
			func(f *Tree) { f.Strays = []metav1.Object{taskRun("build", nil)} }, verify.Failed, "children",
			"fail:children:release-build " +
				"unknown:inputs:release-deploy unknown:inputs:release-notify unknown:pipeline-results::digest " +
				"unknown:pipeline-results::tags",
		},
		"two for one task": {
			func(f *Tree) {
				second := f.Children[2]
				second.Name = "another"
				f.Children = append(f.Children, second)
			}, verify.Failed, "children", "fail:children:notify",
		},
		"named twice": {
			func(f *Tree) { f.Children = append(f.Children, f.Children[2]) }, verify.Failed, "children",
			"fail:children:release-notify fail:children:notify",
		},
		"gone": {
			func(f *Tree) {
				f.Children[2] = Child{Kind: KindTaskRun, Name: "n", PipelineTask: "notify", Missing: "gone"}
			},
			verify.Indeterminate, "children", "unknown:children:n",
		},
		"gone with its reference": {
			func(f *Tree) { f.Children = f.Children[:2] }, verify.Indeterminate, "children", "unknown:children:notify",
		},
		"skipped": {
			func(f *Tree) {
				f.Children = f.Children[:2]
				f.PipelineRun.Status.SkippedTasks = []v1.SkippedTask{{Name: "notify"}}
			}, verify.Verified, "", "",
		},
		"a custom run": {
			func(f *Tree) {
				f.Children[2] = Child{Kind: KindCustomRun, Name: "n", PipelineTask: "notify"}
			}, verify.Indeterminate, "children", "unknown:children:n",
		},
		"a custom run that is read": {
			custom, verify.Indeterminate, "children", "unknown:children:release-build unknown:inputs:release-deploy " +
				"unknown:inputs:release-notify unknown:pipeline-results::digest",
		},
		"an allowed custom run": {
			func(f *Tree) { custom(f); f.AllowCustomRuns = true }, verify.Verified, "custom-runs-allowed",
			"note:children:release-build",
		},
		"an allowed custom run of somebody else": {
			func(f *Tree) {
				custom(f)
				f.AllowCustomRuns, f.Children[0].CustomRun.OwnerReferences = true, ownedBy("other")
			}, verify.Failed, "children", "fail:children:release-build unknown:inputs:release-deploy " +
				"unknown:inputs:release-notify " +
				"unknown:pipeline-results::digest",
		},
		"an unknown kind": {
			func(f *Tree) { f.Children[2] = Child{Kind: "Run", Name: "n", PipelineTask: "notify"} },
			verify.Indeterminate, "children", "unknown:children:n",
		},

		// What they took.
		"another digest": {
			func(f *Tree) { tr(f, 1).Spec.Params[0].Value = text("app@evil") }, verify.Failed, "inputs",
			"fail:inputs:release-deploy:image",
		},
		"a list with one more": {
			func(f *Tree) { tr(f, 1).Spec.Params[1].Value = list("v1", "latest", "evil") }, verify.Failed, "inputs",
			"fail:inputs:release-deploy:tags",
		},
		"another element": {
			func(f *Tree) { tr(f, 1).Spec.Params[2].Value = text("latest") }, verify.Failed, "inputs",
			"fail:inputs:release-deploy:first",
		},
		"another property": {
			func(f *Tree) { tr(f, 1).Spec.Params[3].Value = text("evil") }, verify.Failed, "inputs",
			"fail:inputs:release-deploy:commit",
		},
		"another object": {
			func(f *Tree) {
				tr(f, 1).Spec.Params[4].Value = v1.ParamValue{Type: v1.ParamTypeObject,
					ObjectVal: map[string]string{"commit": "8f3c"}}
			}, verify.Failed, "inputs", "fail:inputs:release-deploy:source",
		},
		"a text in place of a list": {
			func(f *Tree) { tr(f, 1).Spec.Params[1].Value = text(`["v1","latest"]`) }, verify.Failed, "inputs",
			"fail:inputs:release-deploy:tags",
		},
		"in finally": {
			func(f *Tree) { tr(f, 2).Spec.Params[0].Value = text("Succeeded: evil") }, verify.Failed, "inputs",
			"fail:inputs:release-notify:text",
		},
		"in finally, another state": {
			func(f *Tree) { tr(f, 2).Spec.Params[0].Value = text("Failed: sha256:1") }, verify.Verified, "", "",
		},
		"in finally, more than a state": {
			func(f *Tree) { tr(f, 2).Spec.Params[0].Value = text("Failed; evil: sha256:1") }, verify.Failed, "inputs",
			"fail:inputs:release-notify:text",
		},
		"it was not to run": {
			func(f *Tree) {
				for _, spec := range []*v1.PipelineSpec{f.PipelineRun.Spec.PipelineSpec, f.PipelineRun.Status.PipelineSpec} {
					spec.Tasks[1].When[0].Values = []string{"sha256:2"}
				}
			}, verify.Failed, "when", "fail:when:release-deploy",
		},
		"nor by its CEL": {
			func(f *Tree) {
				for _, spec := range []*v1.PipelineSpec{f.PipelineRun.Spec.PipelineSpec, f.PipelineRun.Status.PipelineSpec} {
					spec.Tasks[1].When[1].CEL = "'$(tasks.build.results.digest)' == 'evil'"
				}
			}, verify.Failed, "when", "fail:when:release-deploy",
		},

		// What came of it.
		"another result": {
			func(f *Tree) { f.PipelineRun.Status.Results[0].Value = text("evil") }, verify.Failed, "pipeline-results",
			"fail:pipeline-results::digest",
		},
		"a result that nobody declared": {
			func(f *Tree) {
				f.PipelineRun.Status.Results = append(f.PipelineRun.Status.Results,
					v1.PipelineRunResult{Name: "evil", Value: text("x")})
			}, verify.Failed, "pipeline-results", "fail:pipeline-results::evil",
		},
		"a result twice": {
			func(f *Tree) {
				f.PipelineRun.Status.Results = append(f.PipelineRun.Status.Results, f.PipelineRun.Status.Results[0])
			}, verify.Failed, "pipeline-results", "fail:pipeline-results::digest",
		},
		"a result less": {
			func(f *Tree) { f.PipelineRun.Status.Results = f.PipelineRun.Status.Results[:1] }, verify.Failed,
			"pipeline-results", "fail:pipeline-results::tags",
		},
		"a result less, and it failed": {
			func(f *Tree) {
				f.PipelineRun.Status.Conditions[0].Status, f.PipelineRun.Status.Results = "False", nil
			}, verify.Verified, "", "",
		},

		// The pipeline, and verdicts.
		"the status names other sources": {
			func(f *Tree) { f.PipelineRun.Status.PipelineSpec.Tasks[1].Params[0].Value = text("evil") }, verify.Failed,
			"pipeline",
			"fail:pipeline fail:inputs:release-deploy:image",
		},
		"the status holds no pipeline": {
			func(f *Tree) { f.PipelineRun.Status.PipelineSpec = nil }, verify.Indeterminate, "pipeline", "unknown:pipeline",
		},
		"the status holds results alone": {
			func(f *Tree) { f.PipelineRun.Status.PipelineSpec, f.Children = nil, nil }, verify.Indeterminate, "pipeline",
			"unknown:pipeline",
		},
		"a child that fails": {
			func(f *Tree) { f.Children[2].Verdict = verify.Failed }, verify.Failed, ReasonChild, "",
		},
		"an unsigned producer": {
			func(f *Tree) { f.Children[0].Verdict = verify.Unsigned }, verify.Unsigned, "inputs",
			"missing:inputs:release-deploy missing:inputs:release-notify missing:pipeline-results::digest " +
				"missing:pipeline-results::tags",
		},
		"a child without results":   {func(f *Tree) { f.Children[2].Verdict = verify.NoResults }, verify.Verified, "", ""},
		"nothing but such":          {noResults, verify.NoResults, "", ""},
		"a child without a verdict": {func(f *Tree) { f.Children[2].Verdict = "NEW" }, verify.Failed, ReasonChild, ""},
		"a PipelineRun that runs on": {func(f *Tree) { f.PipelineRun.Status.Conditions = nil }, verify.Indeterminate,
			"children", "unknown:children"},
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

func noResults(f *Tree) {
	f.PipelineRun.Status.PipelineSpec = &v1.PipelineSpec{Tasks: f.PipelineRun.Status.PipelineSpec.Tasks[:1]}
	f.PipelineRun.Spec.PipelineSpec = f.PipelineRun.Status.PipelineSpec
	f.PipelineRun.Status.Results = nil
	f.Children = f.Children[:1]
	f.Children[0].Verdict, f.Children[0].TaskRun.Status.Results = verify.NoResults, nil
}
