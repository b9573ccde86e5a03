// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"slices"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// setResults changes the results of a TaskRun.
func setResults(change func([]v1.TaskRunResult) []v1.TaskRunResult) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) { tr.Status.Results = change(tr.Status.Results) }
}

// statusAttacks change what readers see and keep the steps' messages.
func statusAttacks() []attack {
	results := failed(verify.CheckResults)
	value := func(text string) v1.ParamValue { return *v1.NewStructuredValues(text) }
	return []attack{
		{name: "result changed", want: results, tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			r[0].Value.StringVal = "sha256:0000"
			return r
		})},
		{name: "result cut short", want: results, tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			r[0].Value.StringVal = r[0].Value.StringVal[:20]
			return r
		})},
		{name: "result with white space", want: results, tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			r[0].Value.StringVal += "\n"
			return r
		})},
		{
			name: "result removed", want: results,
			tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult { return r[1:] }),
		},
		{
			name: "all results removed", want: results,
			tamper: setResults(func([]v1.TaskRunResult) []v1.TaskRunResult { return nil }),
		},
		{name: "result added", want: results, tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			return append(r, v1.TaskRunResult{Name: "EXTRA", Type: "string", Value: value("x")})
		})},
		{name: "result twice", want: results, tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			return append(r, r[0])
		})},
		{name: "results swapped", want: results, tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			r[0].Name, r[1].Name = r[1].Name, r[0].Name
			return r
		})},
		{name: "result renamed", want: results, tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			r[0].Name = "image_digest"
			return r
		})},
		{name: "array made a string", want: results, tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			r[1].Type, r[1].Value = "string", value(`["v1.0.0","latest"]`)
			return r
		})},
		{name: "array flattened", want: results, tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			r[1].Value.ArrayVal = []string{r[1].Value.ArrayVal[0] + "," + r[1].Value.ArrayVal[1]}
			return r
		})},
		{name: "object's key removed", want: results, tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			delete(r[2].Value.ObjectVal, "commit")
			return r
		})},
		{name: "results in another order", want: verified(),
			tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
				slices.Reverse(r)
				return r
			})},
		{
			name: "condition flipped to False", want: verified(),
			tamper: func(tr *v1.TaskRun) { setCondition(tr, verify.ConditionType, "False", "Forged") },
		},
	}
}

// stepAttacks change what readers see of each step.
func stepAttacks() []attack {
	steps, artifacts := failed(verify.CheckStepResults), failed(verify.CheckArtifacts)
	value := func(text string) v1.ParamValue { return *v1.NewStructuredValues(text) }
	return []attack{
		{
			name: "step result changed", want: steps, tamper: func(tr *v1.TaskRun) {
				tr.Status.Steps[0].Results[0].Value = value("dirty")
			},
		},
		{name: "step result removed", want: steps, tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Results = nil }},
		{name: "step result moved", want: steps, tamper: func(tr *v1.TaskRun) {
			tr.Status.Steps[1].Results, tr.Status.Steps[0].Results = tr.Status.Steps[0].Results, nil
		}},
		{name: "artifact's digest changed", want: artifacts, tamper: func(tr *v1.TaskRun) {
			tr.Status.Steps[1].Outputs[0].Values[0].Digest["sha256"] = "00"
		}},
		{name: "artifact's place changed", want: artifacts, tamper: func(tr *v1.TaskRun) {
			tr.Status.Artifacts.Outputs[0].Values[0].Uri = "reg.example/evil"
		}},
		{
			name: "artifact no build output", want: artifacts,
			tamper: func(tr *v1.TaskRun) { tr.Status.Artifacts.Outputs[0].BuildOutput = false },
		},
		{name: "artifacts removed", want: artifacts, tamper: func(tr *v1.TaskRun) { tr.Status.Artifacts = nil }},
		{name: "outputs shown as inputs", want: artifacts, tamper: func(tr *v1.TaskRun) {
			s := &tr.Status.Steps[1]
			s.Inputs, s.Outputs = s.Outputs, nil
		}},
	}
}

// setCondition sets a condition of a TaskRun.
func setCondition(tr *v1.TaskRun, kind apis.ConditionType, status corev1.ConditionStatus, reason string) {
	tr.Status.Conditions = slices.DeleteFunc(tr.Status.Conditions, func(c apis.Condition) bool { return c.Type == kind })
	tr.Status.Conditions = append(tr.Status.Conditions, apis.Condition{Type: kind, Status: status, Reason: reason})
}

// identityAttacks make the TaskRun look like another one, or like one with another outcome.
func identityAttacks() []attack {
	failing := func(r *verifytest.Run) {
		r.Failed, r.Steps[1].ExitCode, r.Steps[1].Reason = true, 1, "Error"
	}
	return []attack{
		{
			name: "another UID", want: failed(verify.CheckTaskRunUID),
			tamper: func(tr *v1.TaskRun) { tr.UID = "11111111-2222-4333-8444-555555555555" },
		},
		{name: "no UID", want: failed(verify.CheckTaskRunUID), tamper: func(tr *v1.TaskRun) { tr.UID = "" }},
		{name: "UID in capitals", want: failed(verify.CheckTaskRunUID), tamper: func(tr *v1.TaskRun) {
			tr.UID = types.UID("6340374F-3A88-4FF2-812E-C155A2D8E142")
		}},
		{name: "another name", want: failed(verify.CheckPod), tamper: func(tr *v1.TaskRun) { tr.Name = "release" }},
		{name: "another name and pod", want: failed(verify.CheckPayload), tamper: func(tr *v1.TaskRun) {
			tr.Name, tr.Status.PodName = "release", "release-pod"
		}},
		{
			name: "another pod", want: failed(verify.CheckPod),
			tamper: func(tr *v1.TaskRun) { tr.Status.PodName = "build-pod-2" },
		},
		{name: "passed off as a retry", want: failed(verify.CheckPod), tamper: func(tr *v1.TaskRun) {
			tr.Status.RetriesStatus = []v1.TaskRunStatus{{}}
		}},
		{name: "passed off as a retry with its pod", want: failed(verify.CheckPayload), tamper: func(tr *v1.TaskRun) {
			tr.Status.RetriesStatus, tr.Status.PodName = []v1.TaskRunStatus{{}}, "build-pod-retry1"
		}},
		{
			name: "exit code changed", want: failed(verify.CheckPayload),
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 },
		},
		{name: "failure shown as success", sign: failing, want: failed(verify.CheckSucceeded), tamper: func(tr *v1.TaskRun) {
			setCondition(tr, apis.ConditionSucceeded, "True", "Succeeded")
		}},
		{name: "failure untouched", sign: failing, want: verified()},
		{name: "success shown as running", want: missing(verify.CheckTime), tamper: func(tr *v1.TaskRun) {
			setCondition(tr, apis.ConditionSucceeded, "Unknown", "Running")
		}},
		{name: "two outcomes", want: failed(verify.CheckSucceeded), tamper: func(tr *v1.TaskRun) {
			tr.Status.Conditions = append(tr.Status.Conditions, apis.Condition{Type: apis.ConditionSucceeded, Status: "False"})
		}},
		{name: "outcome of no kind", want: failed(verify.CheckSucceeded), tamper: func(tr *v1.TaskRun) {
			setCondition(tr, apis.ConditionSucceeded, "true", "Succeeded")
		}},
		{name: "created after it signed", want: failed(verify.CheckTime), tamper: func(tr *v1.TaskRun) {
			tr.CreationTimestamp = metav1.NewTime(verifytest.Start().Add(time.Hour))
		}},
		{name: "completed before it signed", want: failed(verify.CheckTime), tamper: func(tr *v1.TaskRun) {
			at := metav1.NewTime(verifytest.Start().Add(-time.Hour))
			tr.Status.CompletionTime = &at
		}},
	}
}

// accountAttacks make the TaskRun look like one of another service account or namespace.
func accountAttacks() []attack {
	return []attack{
		{name: "another namespace", want: failed(verify.CheckToken), tamper: func(tr *v1.TaskRun) { tr.Namespace = "prod" }},
		{
			name: "another service account", want: failed(verify.CheckToken),
			tamper: func(tr *v1.TaskRun) { tr.Spec.ServiceAccountName = "admin" },
		},
	}
}
