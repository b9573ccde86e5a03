// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// loggedRun returns a run whose steps emit everything that travels by log.
func loggedRun() *verifytest.Run {
	r := verifytest.NewRun()
	r.Spec.Steps[0].Results = []v1.StepResult{{Name: "scan", Type: v1.ResultsTypeString},
		{Name: "files", Type: v1.ResultsTypeArray}}
	r.Spec.Results = append(r.Spec.Results,
		v1.TaskResult{Name: "SCAN", Type: v1.ResultsTypeString, Value: v1.NewStructuredValues("$(steps.build.results.scan)")},
		v1.TaskResult{Name: "LOOKS", Type: v1.ResultsTypeString}, v1.TaskResult{Name: "NONE", Type: v1.ResultsTypeArray})
	r.Steps[0].Entries = append(r.Steps[0].Entries,
		verifytest.StepResult("scan", "fine <b>"), verifytest.StepResult("files", `["a",  "b"]`),
		verifytest.TaskResult("LOOKS", `["like an array"]`), verifytest.TaskResult("NONE", "[]"),
		verifytest.StepArtifacts(v1.Artifacts{
			Inputs:  []v1.Artifact{{Name: "source", Values: []v1.ArtifactValue{{Uri: "git:a&b"}}}},
			Outputs: []v1.Artifact{{Name: "image", BuildOutput: true, Values: []v1.ArtifactValue{{Uri: "oci:a"}}}},
		}))
	r.Steps[1].Entries = append(r.Steps[1].Entries,
		verifytest.TaskResult("IMAGE_DIGEST", "sha256:later"),
		verifytest.StepArtifacts(v1.Artifacts{
			Outputs: []v1.Artifact{{Name: "image", Values: []v1.ArtifactValue{{Uri: "oci:b"}}}},
		}))
	return r
}

func loggedTaskRun(t testing.TB, change func(*verifytest.Run)) *v1.TaskRun {
	t.Helper()
	r := loggedRun()
	if change != nil {
		change(r)
	}
	tr, err := r.SidecarTaskRun(theCluster())
	if err != nil {
		t.Fatal(err)
	}
	verifytest.DropCarriers(tr)
	return tr
}

func TestSidecarLogs(t *testing.T) {
	result := func(name string, change func(*v1.TaskRunResult)) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) {
			for i := range tr.Status.Results {
				if tr.Status.Results[i].Name == name {
					change(&tr.Status.Results[i])
				}
			}
		}
	}
	ended := func(reason v1.TaskRunReason) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) {
			for i := range tr.Status.Conditions {
				if tr.Status.Conditions[i].Type == apis.ConditionSucceeded {
					tr.Status.Conditions[i].Status, tr.Status.Conditions[i].Reason = "False", string(reason)
				}
			}
		}
	}
	without := func(tr *v1.TaskRun) {
		tr.Status.Results, tr.Status.Artifacts = nil, nil
		for i := range tr.Status.Steps {
			tr.Status.Steps[i].Results, tr.Status.Steps[i].Inputs, tr.Status.Steps[i].Outputs = nil, nil, nil
		}
	}
	cases := map[string]verdictCase{
		"everything": {want: verify.Verified},
		"no values": {sign: func(r *verifytest.Run) {
			r.Steps[0].Entries, r.Steps[1].Entries = nil, nil
		}, want: verify.Verified},
		"another string": {
			tamper: result("IMAGE_DIGEST", func(r *v1.TaskRunResult) { r.Value.StringVal = "sha256:evil" }),
			want:   verify.Failed, checks: []string{"payload"},
		},
		"the earlier step's value": {
			tamper: result("IMAGE_DIGEST", func(r *v1.TaskRunResult) {
				r.Value.StringVal = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
			}), want: verify.Failed, checks: []string{"payload"},
		},
		"an array flattened": {
			tamper: result("TAGS", func(r *v1.TaskRunResult) {
				*r = v1.TaskRunResult{Name: "TAGS", Type: "string", Value: *v1.NewStructuredValues(`["v1.4.0","latest"]`)}
			}), want: verify.Failed, checks: []string{"results TAGS"},
		},
		"a string unfolded": {
			tamper: result("LOOKS", func(r *v1.TaskRunResult) {
				*r = v1.TaskRunResult{Name: "LOOKS", Type: "array",
					Value: v1.ParamValue{Type: "array", ArrayVal: []string{"like an array"}}}
			}), want: verify.Failed, checks: []string{"results LOOKS"},
		},
		"a result more": {
			tamper: func(tr *v1.TaskRun) {
				tr.Status.Results = append(tr.Status.Results,
					v1.TaskRunResult{Name: "more", Type: "string", Value: *v1.NewStructuredValues("x")})
			}, want: verify.Failed, checks: []string{"payload"},
		},
		"a result twice": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Results = append(tr.Status.Results, tr.Status.Results[0]) },
			want:   verify.Failed, checks: []string{"payload", "results IMAGE_DIGEST"},
		},
		"all results less": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Results = nil },
			want:   verify.Failed, checks: []string{"payload", "results SCAN"},
		},
		"another promoted value": {
			tamper: result("SCAN", func(r *v1.TaskRunResult) { r.Value.StringVal = "x" }),
			want:   verify.Failed, checks: []string{"results SCAN"},
		},
		"another step result": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Results[0].Value.StringVal = "x" },
			want:   verify.Failed, checks: []string{"payload", "results SCAN"},
		},
		"another array of a step": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Results[1].Value.ArrayVal[1] = "c" },
			want:   verify.Failed, checks: []string{"payload"},
		},
		"another artifact of a step": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Inputs[0].Values[0].Uri = "git:c" },
			want:   verify.Failed, checks: []string{"payload", "artifacts source"},
		},
		"another artifact of the task": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Artifacts.Inputs[0].Values[0].Uri = "git:c" },
			want:   verify.Failed, checks: []string{"artifacts source"},
		},
		"no artifacts of the task": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Artifacts = nil },
			want:   verify.Failed, checks: []string{"artifacts source", "artifacts image"},
		},
		"a message with values": {
			sign: func(r *verifytest.Run) {
				r.Steps[0].Carriers = func(c map[string]string) { c["extra"] = "x" }
			}, want: verify.Failed, checks: []string{"message extra", "payload"}, // Tekton makes a result from it
		},
		"one step by message": {
			sign: func(r *verifytest.Run) {
				r.Steps[1].Change = func(u *signing.Unit) {
					u.Header.Flags &^= signing.FlagSidecarLogs
					u.Header.Entries, u.Entries = 0, nil
				}
			}, want: verify.Failed, checks: []string{
				"format", "results IMAGE_DIGEST", "results TAGS", "results LOOKS", "results NONE", "results SOURCE",
				"artifacts image",
			},
		},
		"cancelled before the log was read": {
			tamper: func(tr *v1.TaskRun) {
				without(tr)
				ended(v1.TaskRunReasonCancelled)(tr)
			}, want: verify.Indeterminate, checks: []string{"payload"},
		},
		"cancelled, and a result changed": {
			tamper: func(tr *v1.TaskRun) {
				tr.Status.Results[0].Value.StringVal = "evil"
				ended(v1.TaskRunReasonCancelled)(tr)
			}, want: verify.Failed, checks: []string{"payload"},
		},
		"too large for the log": {
			tamper: func(tr *v1.TaskRun) {
				tr.Status.Results = tr.Status.Results[2:]
				ended(v1.TaskRunReasonResultLargerThanAllowedLimit)(tr)
			}, want: verify.Indeterminate, checks: []string{"payload"},
		},
		"a dropped result": {
			tamper: func(tr *v1.TaskRun) {
				tr.Status.Results = tr.Status.Results[1:]
				ended(v1.TaskRunReasonFailedValidation)(tr)
			}, want: verify.Indeterminate, checks: []string{"payload"},
		},
		"a promoted result hides a written one": {
			sign: func(r *verifytest.Run) {
				r.Steps[1].Entries = append(r.Steps[1].Entries, verifytest.TaskResult("SCAN", "hidden"))
			}, want: verify.Indeterminate, checks: []string{"payload"},
		},
	}
	v := newVerifier(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tr := loggedTaskRun(t, c.sign)
			if c.tamper != nil {
				c.tamper(tr)
			}
			before := tr.DeepCopy()
			// A live object proves the declaration, on which promoted results depend.
			got := v.TaskRun(t.Context(), tr, verify.Facts{Live: true})
			if diff := cmp.Diff(before, tr); diff != "" {
				t.Errorf("verification changed the TaskRun (-before +after):\n%s", diff)
			}
			compareVerdict(t, c, got)
		})
	}
}

// A file does not prove the declaration: it decides what is promoted, and how a value is read.
func TestSidecarLogsUnproven(t *testing.T) {
	v := newVerifier(t)
	got := v.TaskRun(t.Context(), loggedTaskRun(t, nil), verify.Facts{})
	if got.Verdict != verify.Indeterminate || got.Reason != "declaration" {
		t.Errorf("%s %s: %+v", got.Verdict, got.Reason, got.Checks)
	}
	tr := loggedTaskRun(t, func(r *verifytest.Run) {
		r.Spec.Results = append(r.Spec.Results[:3:3], r.Spec.Results[4:]...)
	})
	got = v.TaskRun(t.Context(), tr, verify.Facts{})
	if got.Verdict != verify.Indeterminate || got.Reason != "declaration" {
		t.Errorf("%s %s: %+v", got.Verdict, got.Reason, got.Checks)
	}
	var noted []string
	for _, c := range got.Checks {
		if strings.HasPrefix(c.Message, "type not proven") {
			noted = append(noted, c.Result)
		}
	}
	slices.Sort(noted)
	if diff := cmp.Diff([]string{"LOOKS", "NONE", "SOURCE", "TAGS"}, noted); diff != "" {
		t.Errorf("types noted as not proven (-want +got):\n%s", diff)
	}
}

// Cancelling does not change the verdict: nothing is fetched.
func TestSidecarLogsCancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := newVerifier(t).TaskRun(ctx, loggedTaskRun(t, nil),
		verify.Facts{Live: true}); got.Verdict != verify.Verified {
		t.Errorf("%s: %+v", got.Verdict, got.Checks)
	}
}
