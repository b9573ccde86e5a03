// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// matrixRun is a PipelineRun with a task that runs once for each platform, and one that takes all of their results.
func matrixRun() *Tree {
	pr := &v1.PipelineRun{ObjectMeta: metav1.ObjectMeta{Name: "release", UID: releaseUID}}
	pr.Status.Status = done()
	pr.Status.PipelineSpec = &v1.PipelineSpec{Tasks: []v1.PipelineTask{
		{
			Name: "build", TaskRef: &v1.TaskRef{Name: "build"},
			Matrix: &v1.Matrix{Params: v1.Params{param("platform", list("linux", "mac"))}},
		},
		{Name: "index", TaskRef: &v1.TaskRef{Name: "index"},
			Params: v1.Params{param("digests", list("$(tasks.build.results.digest[*])"))}},
	}}
	f := &Tree{PipelineRun: pr}
	for i, platform := range []string{"linux", "mac"} {
		tr := taskRun("build", v1.Params{param("platform", text(platform))}, result("digest", text("sha256:"+platform)))
		tr.Name = fmt.Sprintf("build-%d", i)
		f.Children = append(f.Children, childOf(tr))
	}
	f.Children = append(f.Children,
		childOf(taskRun("index", v1.Params{param("digests", list("sha256:linux", "sha256:mac"))})))
	return f
}

func TestJudgeMatrix(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Tree)
		want   verify.Verdict
		found  string
	}{
		"as it ran":        {func(*Tree) {}, verify.Verified, ""},
		"in another order": {func(f *Tree) { slices.Reverse(f.Children) }, verify.Verified, ""},
		"a run less": {func(f *Tree) { f.Children = f.Children[1:] }, verify.Failed,
			"fail:children:build unknown:inputs:index"},
		"the same run twice": {
			func(f *Tree) { f.Children[1].TaskRun.Spec.Params = f.Children[0].TaskRun.Spec.Params }, verify.Failed,
			"fail:children:build-1",
		},
		"another parameter": {
			func(f *Tree) { f.Children[1].TaskRun.Spec.Params[0].Value = text("evil") }, verify.Failed,
			"fail:inputs:build-1:platform",
		},
		"another digest is taken": {
			func(f *Tree) { f.Children[2].TaskRun.Spec.Params[0].Value = list("sha256:linux", "evil") }, verify.Failed,
			"fail:inputs:release-index:digests",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := matrixRun()
			c.change(f)
			j := Judge(*f)
			if j.Verdict != c.want || (c.found != "" && !strings.HasPrefix(found(j), strings.Fields(c.found)[0])) ||
				c.found == "" && found(j) != "" {
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
		"named": {v1.PipelineTask{PipelineRef: &v1.PipelineRef{Name: "inner"}},
			v1.PipelineRunSpec{PipelineRef: &v1.PipelineRef{Name: "inner"}}, ""},
		"another": {v1.PipelineTask{PipelineRef: &v1.PipelineRef{Name: "inner"}},
			v1.PipelineRunSpec{PipelineRef: &v1.PipelineRef{Name: "evil"}}, "fail:task:inner"},
		"of its own": {v1.PipelineTask{PipelineRef: &v1.PipelineRef{Name: "inner"}},
			v1.PipelineRunSpec{PipelineSpec: inline}, "fail:task:inner"},
		"embedded": {v1.PipelineTask{PipelineSpec: inline}, v1.PipelineRunSpec{PipelineSpec: inline}, ""},
		"one task more": {v1.PipelineTask{PipelineSpec: inline},
			v1.PipelineRunSpec{PipelineSpec: &v1.PipelineSpec{Tasks: make([]v1.PipelineTask, 2)}}, "fail:task:inner"},
		"a task": {v1.PipelineTask{TaskRef: &v1.TaskRef{Name: "t"}},
			v1.PipelineRunSpec{PipelineRef: &v1.PipelineRef{Name: "t"}}, "fail:task:inner"},
		"parameters": {
			v1.PipelineTask{PipelineRef: &v1.PipelineRef{Name: "inner"}},
			v1.PipelineRunSpec{PipelineRef: &v1.PipelineRef{Name: "inner"}, Params: v1.Params{param("a", text("b"))}},
			"fail:inputs:inner:a",
		},
	} {
		c.task.Name = "inner"
		pr := &v1.PipelineRun{ObjectMeta: metav1.ObjectMeta{Name: "release", UID: releaseUID}}
		pr.Status.Status, pr.Status.PipelineSpec = done(), &v1.PipelineSpec{Tasks: []v1.PipelineTask{c.task}}
		inner := &v1.PipelineRun{ObjectMeta: taskRun("inner", nil).ObjectMeta, Spec: c.spec}
		j := Judge(Tree{PipelineRun: pr, Children: []Child{
			{Kind: KindPipelineRun, Name: "inner", PipelineTask: "inner", Verdict: verify.Verified, PipelineRun: inner},
		}})
		if found(j) != c.want || (j.Verdict == verify.Verified) != (c.want == "") {
			t.Errorf("%s: got %s: %s, want %s", name, j.Verdict, found(j), c.want)
		}
	}
}
