// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// TestShapeOf compares the containers of models with those that Tekton's own code makes.
func TestShapeOf(t *testing.T) {
	results := []v1.TaskResult{{Name: "digest", Type: v1.ResultsTypeString}}
	step := func(change func(*v1.Step)) []v1.Step {
		s := v1.Step{Name: "one", Image: "busybox", Command: []string{"true"}}
		change(&s)
		return []v1.Step{s, {Name: "two", Image: "busybox", Command: []string{"true"}}}
	}
	dir := func(name string) v1.TaskSpec {
		return v1.TaskSpec{Steps: step(func(s *v1.Step) { s.WorkingDir = name })}
	}
	plain := step(func(*v1.Step) {})
	for name, spec := range map[string]v1.TaskSpec{
		"commands":               {Steps: plain},
		"results":                {Steps: plain, Results: results},
		"a script":               {Steps: step(func(s *v1.Step) { s.Command, s.Script = nil, "true" })},
		"a relative folder":      dir("source"),
		"here":                   dir("."),
		"below /workspace":       dir("/workspace/source"),
		"/workspace":             dir("/workspace/"),
		"a folder of the image":  dir("/src"),
		"a folder that goes up":  dir("/workspace/../src"),
		"the template's folder":  {Steps: plain, StepTemplate: &v1.StepTemplate{WorkingDir: "source"}},
		"the step's folder wins": {Steps: dir("/src").Steps[:1], StepTemplate: &v1.StepTemplate{WorkingDir: "source"}},
		"a sidecar":              {Steps: plain, Sidecars: []v1.Sidecar{{Name: "db", Image: "postgres"}}},
		"a sidecar's script":     {Steps: plain, Sidecars: []v1.Sidecar{{Name: "db", Image: "postgres", Script: "true"}}},
		"a sidecar's folder":     {Steps: plain, Sidecars: []v1.Sidecar{{Name: "db", Image: "postgres", WorkingDir: "x"}}},
	} {
		for _, mode := range []string{messages, sidecarLogs} {
			shape := ShapeOf(spec)
			shape.SidecarLogs = mode == sidecarLogs
			want := containers(stockPod(t, map[string]string{"results-from": mode}, "build", spec, nil))
			if got := containers(ModelOf("ci", "image", shape)); got != want {
				t.Errorf("%s, %s: %d containers, Tekton makes %d", name, mode, got, want)
			}
		}
	}
}
