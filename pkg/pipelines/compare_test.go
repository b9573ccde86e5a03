// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"regexp"
	"strings"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// TestProducers finds what a task takes of others wherever it names it.
func TestProducers(t *testing.T) {
	const taking = "$(tasks.build.results.digest)"
	spec := &v1.PipelineSpec{Tasks: []v1.PipelineTask{{Name: "build"}}}
	binding := v1.WorkspaceBinding{Name: "cache", SubPath: taking}
	for name, c := range map[string]struct {
		task v1.PipelineTask
		want string
	}{
		"parameter": {v1.PipelineTask{Params: v1.Params{param("a", text(taking))}}, "build"},
		"in brackets": {v1.PipelineTask{Params: v1.Params{param("a", text(`$(tasks.build.results["digest"])`))}},
			"build"},
		"matrix":           {v1.PipelineTask{Matrix: &v1.Matrix{Params: v1.Params{param("a", list(taking))}}}, "build"},
		"when":             {v1.PipelineTask{When: v1.WhenExpressions{{CEL: "'" + taking + "' == ''"}}}, "build"},
		"name of the Task": {v1.PipelineTask{TaskRef: &v1.TaskRef{Name: taking}}, "build"},
		"resolver": {v1.PipelineTask{TaskRef: &v1.TaskRef{ResolverRef: v1.ResolverRef{Params: v1.Params{param("a",
			text(taking))}}}}, "build"},
		"script": {v1.PipelineTask{TaskSpec: &v1.EmbeddedTask{TaskSpec: v1.TaskSpec{Steps: []v1.Step{{Script: taking}}}}},
			"build"},
		"artifact": {v1.PipelineTask{Params: v1.Params{param("a", text("$(tasks.build.outputs.image)"))}}, "build"},
		"workspace": {v1.PipelineTask{Workspaces: []v1.WorkspacePipelineTaskBinding{{Name: "w",
			Workspace: "cache"}}}, "build"},
		"own sub-path": {v1.PipelineTask{Workspaces: []v1.WorkspacePipelineTaskBinding{{Name: "w", SubPath: taking}}},
			"build"},
		"another workspace": {v1.PipelineTask{Workspaces: []v1.WorkspacePipelineTaskBinding{{Name: "w",
			Workspace: "other"}}}, ""},
		"a state":      {v1.PipelineTask{Params: v1.Params{param("a", text("$(tasks.build.status)"))}}, ""},
		"no such task": {v1.PipelineTask{Params: v1.Params{param("a", text("$(tasks.other.results.digest)"))}}, ""},
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
	f.PipelineRun.Status.PipelineSpec.Finally[0].Params[0].Value.StringVal = strings.Repeat(
		"$(tasks.build.results.digest)", 20_000)
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
	texts := []string{"", "a", "-", "b", "a-", "aa-", "a-a", "-a", "a-a-a", "ab-ab", "a)", "$(tasks.x.results.y)",
		"$(tasks.x.results.y)a", "é"}
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
