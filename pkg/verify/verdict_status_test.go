// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// setOutcome writes the condition Succeeded, as anyone who can write the status can do.
func setOutcome(tr *v1.TaskRun, status corev1.ConditionStatus, reason string) {
	for i := range tr.Status.Conditions {
		if tr.Status.Conditions[i].Type == apis.ConditionSucceeded {
			tr.Status.Conditions[i].Status, tr.Status.Conditions[i].Reason = status, reason
		}
	}
}

// endedByController changes the last step into one that Tekton's controller ended with the TaskRun.
func endedByController(tr *v1.TaskRun, reason string) {
	setOutcome(tr, corev1.ConditionFalse, reason)
	step := &tr.Status.Steps[len(tr.Status.Steps)-1]
	step.Running, step.Terminated = nil, &corev1.ContainerStateTerminated{
		ExitCode: 1, Reason: reason, Message: "Step publish terminated as pod build-pod is terminated",
	}
	tr.Status.Results, tr.Status.Artifacts = nil, nil
	for i := range tr.Status.Steps {
		tr.Status.Steps[i].Results = nil
	}
}

func setResult(name, value string) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) {
		for i := range tr.Status.Results {
			if tr.Status.Results[i].Name == name {
				tr.Status.Results[i].Value = *v1.NewStructuredValues(value)
			}
		}
	}
}

func inMessage(old, new string) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) {
		m := &tr.Status.Steps[0].Terminated.Message
		changed := strings.Replace(*m, old, new, 1)
		if changed == *m {
			panic("the message does not hold " + old)
		}
		*m = changed
	}
}

const digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

func TestTamperedResults(t *testing.T) {
	runVerdictCases(t, map[string]verdictCase{
		"untouched": {want: verify.Verified},
		"one byte changed": {
			tamper: setResult("IMAGE_DIGEST", strings.Replace(digest, "2c26", "2c27", 1)),
			want:   verify.Failed, checks: []string{"results IMAGE_DIGEST"},
		},
		"swapped": {
			tamper: func(tr *v1.TaskRun) {
				a, b := &tr.Status.Results[0], &tr.Status.Results[1]
				a.Value, b.Value, a.Type, b.Type = b.Value, a.Value, b.Type, a.Type
			},
			want: verify.Failed, checks: []string{"results IMAGE_DIGEST", "results TAGS"},
		},
		"reordered": {
			tamper: func(tr *v1.TaskRun) {
				r := tr.Status.Results
				r[0], r[2] = r[2], r[0]
			},
			want: verify.Verified,
		},
		"added": {
			tamper: func(tr *v1.TaskRun) {
				tr.Status.Results = append(tr.Status.Results, v1.TaskRunResult{
					Name: "APPROVED", Type: v1.ResultsTypeString, Value: *v1.NewStructuredValues("yes"),
				})
			},
			want: verify.Failed, checks: []string{"results APPROVED"},
		},
		"copied under the same name": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Results = append(tr.Status.Results, tr.Status.Results[0]) },
			want:   verify.Failed, checks: []string{"results IMAGE_DIGEST"},
		},
		"removed": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Results = tr.Status.Results[1:] },
			want:   verify.Failed, checks: []string{"results IMAGE_DIGEST"},
		},
		"all removed": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Results = nil },
			want:   verify.Failed, checks: []string{"results IMAGE_DIGEST", "results TAGS", "results SOURCE"},
		},
		"array flattened": {
			tamper: func(tr *v1.TaskRun) {
				tr.Status.Results[1].Type = v1.ResultsTypeString
				tr.Status.Results[1].Value = *v1.NewStructuredValues("v1.4.0,latest")
			},
			want: verify.Failed, checks: []string{"results TAGS"},
		},
		"only the type": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Results[0].Type = v1.ResultsTypeArray },
			want:   verify.Failed, checks: []string{"results IMAGE_DIGEST"},
		},
		"in the message too": {
			tamper: func(tr *v1.TaskRun) {
				setResult("IMAGE_DIGEST", "sha256:2c27")(tr)
				inMessage(digest, "sha256:2c27")(tr)
			},
			want: verify.Failed, checks: []string{"payload"},
		},
		"in the message alone": {
			tamper: inMessage("sha256:2c26", "sha256:2c27"),
			want:   verify.Failed, checks: []string{"payload", "results IMAGE_DIGEST"},
		},
		"an entry less in the message": {
			tamper: func(tr *v1.TaskRun) {
				inMessage(`{"key":"IMAGE_DIGEST","value":"`+digest+`","type":1},`, "")(tr)
				tr.Status.Results = tr.Status.Results[1:]
			},
			want: verify.Failed, checks: []string{"payload"},
		},
		"carriers kept": {want: verify.Verified, tamper: func(tr *v1.TaskRun) {
			tr.Status.Results = append(tr.Status.Results, v1.TaskRunResult{
				Name: signing.CarrierToken, Type: v1.ResultsTypeString, Value: *v1.NewStructuredValues("x"),
			})
		}},
	})
}

func withStepOutput(r *verifytest.Run) {
	const artifacts = `{"inputs":[{"name":"src","values":[{"uri":"git://x","digest":{"sha1":"abc"}}]}],` +
		`"outputs":[{"name":"img","values":[{"uri":"oci://y","digest":{"sha256":"def"}}],"buildOutput":true}]}`
	r.Spec.Steps[0].Results = []v1.StepResult{{Name: "scan", Type: v1.ResultsTypeString}}
	r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.StepResult("scan", "clean"),
		result.RunResult{Key: "step-build/artifacts", Value: artifacts, ResultType: result.StepArtifactsResultType})
	r.Steps[1].Entries = append(r.Steps[1].Entries,
		result.RunResult{Key: "artifacts", Value: artifacts, ResultType: result.TaskRunArtifactsResultType})
}

func TestTamperedStepOutput(t *testing.T) {
	runVerdictCases(t, map[string]verdictCase{
		"untouched":            {sign: withStepOutput, facts: verify.Facts{Live: true}, want: verify.Verified},
		"untouched, in a file": {sign: withStepOutput, want: verify.Indeterminate, checks: []string{"declaration"}},
		"step result changed": {
			sign:   withStepOutput,
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Results[0].Value = *v1.NewStructuredValues("dirty") },
			want:   verify.Failed, checks: []string{"step-results scan"},
		},
		"step result of another step": {
			sign: withStepOutput,
			tamper: func(tr *v1.TaskRun) {
				s := tr.Status.Steps
				s[0].Results, s[1].Results = s[1].Results, s[0].Results
			},
			want: verify.Failed, checks: []string{"step-results scan"},
		},
		"step artifact changed": {
			sign:   withStepOutput,
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Outputs[0].Values[0].Uri = "oci://z" },
			want:   verify.Failed, checks: []string{"artifacts img"},
		},
		"artifact no build output": {
			sign:   withStepOutput,
			tamper: func(tr *v1.TaskRun) { tr.Status.Artifacts.Outputs[0].BuildOutput = false },
			want:   verify.Failed, checks: []string{"artifacts img"},
		},
		"artifact removed": {
			sign:   withStepOutput,
			tamper: func(tr *v1.TaskRun) { tr.Status.Artifacts.Inputs = nil },
			want:   verify.Failed, checks: []string{"artifacts src"},
		},
		"artifact added": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Artifacts = &v1.Artifacts{Outputs: []v1.Artifact{{Name: "evil"}}} },
			want:   verify.Failed, checks: []string{"artifacts evil"},
		},
	})
}

func TestTamperedIdentityOfTheTaskRun(t *testing.T) {
	runVerdictCases(t, map[string]verdictCase{
		"UID": {
			tamper: func(tr *v1.TaskRun) { tr.UID = "00000000-0000-4000-8000-000000000000" },
			want:   verify.Failed, checks: []string{"taskrun-uid"},
		},
		"no UID": {tamper: func(tr *v1.TaskRun) { tr.UID = "" }, want: verify.Failed, checks: []string{"taskrun-uid"}},
		"name": {
			tamper: func(tr *v1.TaskRun) { tr.Name = "other" }, want: verify.Failed, checks: []string{"pod", "payload"},
		},
		"namespace": {
			tamper: func(tr *v1.TaskRun) { tr.Namespace = "prod" },
			want:   verify.Failed, checks: []string{"token", "payload"},
		},
		"pod name": {
			tamper: func(tr *v1.TaskRun) { tr.Status.PodName = "other-pod" },
			want:   verify.Failed, checks: []string{"pod", "payload"},
		},
		"no pod name": {
			tamper: func(tr *v1.TaskRun) { tr.Status.PodName = "" },
			want:   verify.Failed, checks: []string{"pod", "payload"},
		},
		"service account": {
			tamper: func(tr *v1.TaskRun) { tr.Spec.ServiceAccountName = "deployer" },
			want:   verify.Failed, checks: []string{"token"},
		},
		"default service account": {sign: func(r *verifytest.Run) { r.ServiceAccount = "" }, want: verify.Verified},
		"steps swapped": {
			tamper: func(tr *v1.TaskRun) { s := tr.Status.Steps; s[0], s[1] = s[1], s[0] },
			want:   verify.Failed, checks: []string{"position"},
		},
		"step removed": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps, tr.Status.Results = tr.Status.Steps[:1], tr.Status.Results[:2] },
			want:   verify.Failed, checks: []string{"position"},
		},
		"step twice": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps = append(tr.Status.Steps, tr.Status.Steps[1]) },
			want:   verify.Failed, checks: []string{"position", "token-reuse"},
		},
		"step renamed": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Name = "test" },
			want:   verify.Failed, checks: []string{"position"},
		},
		"exit code": {
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 },
			want:   verify.Failed, checks: []string{"payload"},
		},
		"long name": {sign: func(r *verifytest.Run) { r.Name = strings.Repeat("n", 63) }, want: verify.Verified},
		"retry":     {sign: func(r *verifytest.Run) { r.Retries = 2 }, want: verify.Verified},
		"retries forgotten": {
			sign: func(r *verifytest.Run) { r.Retries = 1 }, tamper: func(tr *v1.TaskRun) { tr.Status.RetriesStatus = nil },
			want: verify.Failed, checks: []string{"pod"},
		},
		"ended between attempts": {
			sign: func(r *verifytest.Run) { r.Retries = 1 },
			tamper: func(tr *v1.TaskRun) {
				setOutcome(tr, corev1.ConditionFalse, string(v1.TaskRunReasonCancelled))
				tr.Status.RetriesStatus[0].Steps = tr.Status.Steps
				tr.Status.PodName, tr.Status.Results = "", nil
			},
			want: verify.Unsigned, checks: []string{"coverage"},
		},
	})
}

func TestLivePod(t *testing.T) {
	const podUID, uid = "3db15e48-971f-4815-84b3-272e52f61a10", "6340374f-3a88-4ff2-812e-c155a2d8e142"
	pod := func(found bool, pod, owner string) *verify.PodFacts {
		facts := &verify.PodFacts{Found: found}
		facts.UID, facts.ControllerUID = "", ""
		if found {
			facts.UID, facts.ControllerUID = types.UID(pod), types.UID(owner)
		}
		return facts
	}
	bare := func(r *verifytest.Run) { r.Steps[0].Bare, r.Steps[1].Bare = true, true }
	runVerdictCases(t, map[string]verdictCase{
		"the one that signed": {facts: verify.Facts{Pod: pod(true, podUID, uid), RequirePod: true}, want: verify.Verified},
		"nobody looked":       {want: verify.Verified},
		"nobody looked, although required": {
			facts: verify.Facts{RequirePod: true}, want: verify.Indeterminate, checks: []string{"pod"},
		},
		"gone": {facts: verify.Facts{Pod: pod(false, "", "")}, want: verify.Verified},
		"gone, and required": {
			facts: verify.Facts{Pod: pod(false, "", ""), RequirePod: true}, want: verify.Indeterminate, checks: []string{"pod"},
		},
		"another UID": {
			facts: verify.Facts{Pod: pod(true, "00000000-0000-4000-8000-000000000000", uid)}, want: verify.Failed,
			checks: []string{"pod"},
		},
		"another owner": {
			facts: verify.Facts{Pod: pod(true, podUID, "00000000-0000-4000-8000-000000000000")}, want: verify.Failed,
			checks: []string{"pod"},
		},
		"no owner": {facts: verify.Facts{Pod: pod(true, podUID, "")}, want: verify.Failed, checks: []string{"pod"}},
		"no owner and unsigned": {
			sign: bare, facts: verify.Facts{Pod: pod(true, podUID, "")}, want: verify.Failed, checks: []string{"pod"},
		},
	})
}

func TestOutcome(t *testing.T) {
	failing := func(r *verifytest.Run) { r.Failed, r.Steps[1].ExitCode, r.Steps[1].Reason = true, 1, "Error" }
	runVerdictCases(t, map[string]verdictCase{
		"failed": {sign: failing, want: verify.Verified},
		"failed, shown as succeeded": {
			sign: failing, tamper: func(tr *v1.TaskRun) { setOutcome(tr, corev1.ConditionTrue, "Succeeded") },
			want: verify.Failed, checks: []string{"succeeded"},
		},
		"onError: continue": {sign: func(r *verifytest.Run) { r.Steps[0].ExitCode = 3 }, want: verify.Verified},
		"neither true nor false": {
			tamper: func(tr *v1.TaskRun) { setOutcome(tr, "Perhaps", "Succeeded") },
			want:   verify.Failed, checks: []string{"succeeded"},
		},
		"two outcomes": {
			tamper: func(tr *v1.TaskRun) {
				tr.Status.Conditions = append(tr.Status.Conditions, apis.Condition{Type: apis.ConditionSucceeded, Status: "False"})
			},
			want: verify.Failed, checks: []string{"succeeded"},
		},
		"succeeded with a running step": {
			tamper: func(tr *v1.TaskRun) {
				tr.Status.Steps[1].Terminated, tr.Status.Steps[1].Running = nil, &corev1.ContainerStateRunning{}
				tr.Status.Results = tr.Status.Results[:2]
			},
			want: verify.Failed, checks: []string{"coverage", "succeeded"},
		},
		"running": {
			tamper: func(tr *v1.TaskRun) { setOutcome(tr, corev1.ConditionUnknown, "Running") },
			want:   verify.Indeterminate, checks: []string{"time"}, reason: "running",
		},
		"not started": {
			tamper: func(tr *v1.TaskRun) { tr.Status = v1.TaskRunStatus{} },
			want:   verify.Indeterminate, checks: []string{"time"}, reason: "running",
		},
	})
}

func TestConditionIsNeverTrusted(t *testing.T) {
	for status, want := range map[corev1.ConditionStatus]verify.Check{
		corev1.ConditionTrue: {
			ID: verify.CheckCondition, Status: verify.Note, Expected: "UNSIGNED", Got: "True/Any",
			Message: "the condition SignedResultsVerified has another verdict: it is never trusted",
		},
		corev1.ConditionFalse: {
			ID: verify.CheckCondition, Status: verify.Pass, Message: "the condition SignedResultsVerified has the same verdict",
		},
		corev1.ConditionUnknown: {
			ID: verify.CheckCondition, Status: verify.Note, Got: "Unknown/Any", Message: "the add-on has not judged the TaskRun",
		},
	} {
		tr := newTaskRun(t, func(r *verifytest.Run) { r.Steps[0].Bare, r.Steps[1].Bare = true, true })
		tr.Status.Conditions = append(tr.Status.Conditions,
			apis.Condition{Type: verify.ConditionType, Status: status, Reason: "Any"})
		got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{})
		if got.Verdict != verify.Unsigned {
			t.Errorf("verdict %s, want %s", got.Verdict, verify.Unsigned)
		}
		if diff := cmp.Diff(want, got.Checks[len(got.Checks)-1]); diff != "" {
			t.Errorf("%s: %s", status, diff)
		}
	}
}
