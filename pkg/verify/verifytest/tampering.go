// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/apis"
)

// Tampering is a change that anyone who can write the status can make to a recorded TaskRun, with its
// expected verdict.
type Tampering struct {
	Recorded string
	Name     string
	Want     Outcome
	Change   func(*v1.TaskRun)
}

// Tamperings lists changes to what each way of passing results writes into the status.
func Tamperings() []Tampering {
	return slices.Concat(tamperedResults(), tamperedSteps(), tamperedArtifacts(), tamperedEndings(), tamperedLogged())
}

func tamperedResults() []Tampering {
	return []Tampering{
		{
			"types", "a letter of a string", "FAILED results",
			func(tr *v1.TaskRun) { resultOf(tr, "digest").Value.StringVal += "0" },
		},
		{
			"types", "an element of an array", "FAILED results",
			func(tr *v1.TaskRun) { resultOf(tr, "tags").Value.ArrayVal[1] = "v2" },
		},
		{
			"types", "a key of an object", "FAILED results",
			func(tr *v1.TaskRun) { resultOf(tr, "image").Value.ObjectVal["more"] = "" },
		},
		{"types", "an empty array becomes a string", "FAILED results", func(tr *v1.TaskRun) {
			*resultOf(tr, "none") = v1.TaskRunResult{Name: "none", Type: "string", Value: *v1.NewStructuredValues("[]")}
		}},
		{"strings", "a string becomes an array", "FAILED results", func(tr *v1.TaskRun) {
			*resultOf(tr, "array") = v1.TaskRunResult{Name: "array", Type: "array", Value: *v1.NewStructuredValues("a", "b")}
		}},
		{
			"encodings", "U+FFFD in place of letters", "FAILED results",
			func(tr *v1.TaskRun) { resultOf(tr, "utf8").Value.StringVal = "\ufffd" },
		},
		{"missing", "the missing result", "FAILED results", func(tr *v1.TaskRun) {
			tr.Status.Results = append(tr.Status.Results,
				v1.TaskRunResult{Name: "unwritten", Type: "string", Value: *v1.NewStructuredValues("x")})
		}},
		{"broken-json", "the dropped result", "FAILED results", func(tr *v1.TaskRun) {
			tr.Status.Results = append(tr.Status.Results,
				v1.TaskRunResult{Name: "list", Type: "array", Value: *v1.NewStructuredValues("a", "b")})
		}},
		{"broken-json", "it succeeded all the same", "FAILED declaration", succeed},
		{
			"overridden", "the earlier step's value", "FAILED results",
			func(tr *v1.TaskRun) { resultOf(tr, "out").Value.StringVal = "first" },
		},
		{"repetitive", "a letter that was compressed", "FAILED payload", func(tr *v1.TaskRun) {
			message := &tr.Status.Steps[0].Terminated.Message
			*message = strings.Replace(*message, "line 5", "line 6", 1)
			r := resultOf(tr, "lines")
			r.Value.StringVal = strings.Replace(r.Value.StringVal, "line 5", "line 6", 1)
		}},
	}
}

func tamperedSteps() []Tampering {
	return []Tampering{
		{
			"step-results", "a step result", "FAILED step-results",
			func(tr *v1.TaskRun) { tr.Status.Steps[1].Results[0].Value.StringVal = "x" },
		},
		{"step-results", "a step's result at another step", "FAILED step-results", func(tr *v1.TaskRun) {
			steps := tr.Status.Steps
			steps[0].Results, steps[1].Results = steps[1].Results, steps[0].Results
		}},
		{"one-name", "the lost task result", "FAILED results", func(tr *v1.TaskRun) {
			tr.Status.Results = append(tr.Status.Results,
				v1.TaskRunResult{Name: "out", Type: "string", Value: *v1.NewStructuredValues("of-the-task")})
		}},
		{
			"one-name-two-steps", "the step's value as the task's", "FAILED results",
			func(tr *v1.TaskRun) { resultOf(tr, "out").Value.StringVal = "of-the-step" },
		},
		{
			"promoted", "the promoted value", "FAILED results",
			func(tr *v1.TaskRun) { resultOf(tr, "from-first").Value.StringVal = "x" },
		},
		{"promoted", "another step result is promoted", "FAILED results", func(tr *v1.TaskRun) {
			tr.Status.TaskSpec.Results[0].Value.StringVal = "$(steps.first.results.unused)"
		}},
		{"promoted-twice", "both results", "FAILED results", func(tr *v1.TaskRun) {
			tr.Status.Results = append(tr.Status.Results,
				v1.TaskRunResult{Name: "one", Type: "string", Value: *v1.NewStructuredValues("promoted")})
		}},
	}
}

func tamperedArtifacts() []Tampering {
	return []Tampering{
		{"step-artifacts", "a digest of a step's output", "FAILED artifacts", func(tr *v1.TaskRun) {
			tr.Status.Steps[0].Outputs[0].Values[0].Digest["sha256"] = "df86"
		}},
		{"step-artifacts", "a digest of the task's output", "FAILED artifacts", func(tr *v1.TaskRun) {
			image(tr).Values[0].Digest["sha256"] = "df86"
		}},
		{"step-artifacts", "the build output", "FAILED artifacts", func(tr *v1.TaskRun) { image(tr).BuildOutput = false }},
		{"task-artifacts", "an input less", "FAILED artifacts", func(tr *v1.TaskRun) { tr.Status.Artifacts.Inputs = nil }},
		{"retried-cancelled", "other artifacts than the earlier attempt's", "FAILED artifacts", func(tr *v1.TaskRun) {
			image(tr).Values[0].Uri = "oci:b"
		}},
		{"retried-cancelled", "other artifacts in the archive too", "FAILED artifacts", func(tr *v1.TaskRun) {
			image(tr).Values[0].Uri = "oci:b"
			tr.Status.RetriesStatus[0].Artifacts = tr.Status.Artifacts.DeepCopy()
		}},
	}
}

func tamperedEndings() []Tampering {
	exitCode := func(step int, code int32) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) { tr.Status.Steps[step].Terminated.ExitCode = code }
	}
	return []Tampering{
		{"skipped", "the failed step's exit code", "FAILED payload", exitCode(1, 4)},
		{"skipped", "it succeeded all the same", "FAILED succeeded", succeed},
		{"continued", "the signal of a continued step", "FAILED payload", exitCode(1, 0)},
		{"killed", "it succeeded all the same", "FAILED succeeded", succeed},
		{"out-of-memory", "it succeeded all the same", "FAILED succeeded", succeed},
		{"cancelled", "it succeeded all the same", "FAILED message", succeed},
		{"timed-out", "a result after all", "FAILED results", func(tr *v1.TaskRun) {
			tr.Status.Results = []v1.TaskRunResult{{Name: "out", Type: "string", Value: *v1.NewStructuredValues("y")}}
		}},
		{
			"retried", "an attempt less", "FAILED pod",
			func(tr *v1.TaskRun) { tr.Status.RetriesStatus = tr.Status.RetriesStatus[:1] },
		},
		{"retried", "an earlier attempt as the last one", "FAILED pod", func(tr *v1.TaskRun) {
			archive := tr.Status.RetriesStatus
			tr.Status = *archive[1].DeepCopy()
			tr.Status.RetriesStatus = archive
		}},
	}
}

func tamperedLogged() []Tampering {
	return []Tampering{
		{
			"logged-types", "a letter of a string", "FAILED payload",
			func(tr *v1.TaskRun) { resultOf(tr, "digest").Value.StringVal += "0" },
		},
		{
			"logged-types", "an element of an array", "FAILED payload",
			func(tr *v1.TaskRun) { resultOf(tr, "tags").Value.ArrayVal[1] = "v2" },
		},
		{
			"logged-types", "a result less", "FAILED payload",
			func(tr *v1.TaskRun) { tr.Status.Results = tr.Status.Results[1:] },
		},
		{"logged-strings", "a string becomes an array", "FAILED results", func(tr *v1.TaskRun) {
			*resultOf(tr, "array") = v1.TaskRunResult{
				Name: "array", Type: "array", Value: v1.ParamValue{Type: v1.ParamTypeArray, ArrayVal: []string{"a"}},
			}
		}},
		{
			"logged-encodings", "U+FFFD in place of letters", "FAILED payload",
			func(tr *v1.TaskRun) { resultOf(tr, "utf8").Value.StringVal = "\ufffd" },
		},
		{
			"logged-overridden", "the earlier step's value", "FAILED payload",
			func(tr *v1.TaskRun) { resultOf(tr, "out").Value.StringVal = "first" },
		},
		{
			"logged-one-name", "the step's value as the task's", "FAILED payload",
			func(tr *v1.TaskRun) { resultOf(tr, "out").Value.StringVal = "of-the-step" },
		},
		{
			"logged-promoted", "the promoted value", "FAILED results",
			func(tr *v1.TaskRun) { resultOf(tr, "from-first").Value.StringVal = "x" },
		},
		{
			"logged-promoted", "a step result", "FAILED payload",
			func(tr *v1.TaskRun) { tr.Status.Steps[0].Results = tr.Status.Steps[0].Results[1:] },
		},
		{"logged-step-artifacts", "a digest of a step's output", "FAILED payload", func(tr *v1.TaskRun) {
			tr.Status.Steps[0].Outputs[0].Values[0].Digest["sha256"] = "df86"
		}},
		{
			"logged-task-artifacts", "an output of the task", "FAILED artifacts",
			func(tr *v1.TaskRun) { image(tr).Values[0].Uri = "oci:c" },
		},
		{"logged-killed", "it succeeded all the same", "FAILED succeeded", succeed},
		{"logged-cancelled", "a result after all", "FAILED results", func(tr *v1.TaskRun) {
			tr.Status.Results = []v1.TaskRunResult{{Name: "out", Type: "string", Value: *v1.NewStructuredValues("x")}}
		}},
		{
			"logged-broken-json", "the result that is left", "INDETERMINATE payload",
			func(tr *v1.TaskRun) { resultOf(tr, "fine").Value.StringVal = "y" },
		},
		{"logged-broken-json", "it succeeded all the same", "FAILED payload", succeed},
	}
}

// succeed sets the condition Succeeded of a failed TaskRun to True.
func succeed(tr *v1.TaskRun) {
	for i := range tr.Status.Conditions {
		if c := &tr.Status.Conditions[i]; c.Type == apis.ConditionSucceeded {
			c.Status, c.Reason = "True", "Succeeded"
		}
	}
}

// resultOf returns a result that the recording has.
func resultOf(tr *v1.TaskRun, name string) *v1.TaskRunResult {
	for i := range tr.Status.Results {
		if tr.Status.Results[i].Name == name {
			return &tr.Status.Results[i]
		}
	}
	panic("no result " + name)
}

// image returns the output "image" of the task, which the recording has.
func image(tr *v1.TaskRun) *v1.Artifact {
	for i := range tr.Status.Artifacts.Outputs {
		if tr.Status.Artifacts.Outputs[i].Name == "image" {
			return &tr.Status.Artifacts.Outputs[i]
		}
	}
	panic("no output image")
}
