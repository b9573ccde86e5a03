// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// TestReceiptIsOfThisAttempt: what a status writer adds beside what the kubelet reported is no receipt.
func TestReceiptIsOfThisAttempt(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(r *received)
		reason verify.CheckID
	}{
		"another step's name": {func(r *received) {
			r.tr.Status.Steps[0].Name = r.tr.Status.Steps[1].Name
		}, verify.CheckReceipt},
		"an attempt that never was": {func(r *received) {
			other := v1.TaskRunStatusFields{PodName: "other-pod"}
			r.tr.Status.RetriesStatus = []v1.TaskRunStatus{{TaskRunStatusFields: other}}
		}, verify.CheckPod},
	} {
		r := newReceived(t, bareRun())
		r.look()
		tc.change(r)
		if got := r.verify(t); got.Verdict != verify.Failed || got.Reason != string(tc.reason) {
			t.Errorf("%s: got %s %s, want FAILED %s: %+v", name, got.Verdict, got.Reason, tc.reason, got.Checks)
		}
	}
}

// artifactsMessage is a compressed message of a step with as many values of artifacts as fit.
func artifactsMessage(t *testing.T, step, values int) string {
	t.Helper()
	artifacts := v1.Artifacts{Outputs: []v1.Artifact{{Name: "a"}}}
	for i := range values {
		value := v1.ArtifactValue{Uri: fmt.Sprintf("%d/%d", step, i)}
		artifacts.Outputs[0].Values = append(artifacts.Outputs[0].Values, value)
	}
	value, err := json.Marshal(artifacts)
	if err != nil {
		t.Fatal(err)
	}
	entry := result.RunResult{Key: "a", Value: string(value), ResultType: result.StepArtifactsResultType}
	text, err := json.Marshal([]result.RunResult{entry})
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Write(text); err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return tekton.CompressedPrefix + base64.RawStdEncoding.EncodeToString(packed.Bytes())
}

// TestReceiptOfABomb: the report is as hostile as the status, and is not merged at any price.
func TestReceiptOfABomb(t *testing.T) {
	for name, bomb := range map[string]func(r *received){
		"artifacts": func(r *received) {
			for i := range r.pod.Status.ContainerStatuses {
				r.pod.Status.ContainerStatuses[i].State.Terminated.Message = artifactsMessage(t, i, 3000)
			}
		},
		"promotions": func(r *received) {
			for i := range 10000 {
				r.tr.Status.TaskSpec.Results = append(r.tr.Status.TaskSpec.Results, v1.TaskResult{
					Name: fmt.Sprint(i), Value: v1.NewStructuredValues("$(steps.x.results." + fmt.Sprint(i) + ")"),
				})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := bareRun()
			for i := range 90 {
				run.Steps = append(run.Steps, verifytest.Step{Name: fmt.Sprintf("more%d", i), Bare: true})
			}
			r := newReceived(t, run)
			bomb(r)
			r.look()
			start := time.Now()
			got := r.verify(t)
			if took := time.Since(start); got.Verdict == verify.Verified || took > 2*time.Second {
				t.Errorf("got %s after %s", got.Verdict, took)
			}
		})
	}
}

// TestReportOfANativeSidecar: Tekton can run its results sidecar as an init container, too.
func TestReportOfANativeSidecar(t *testing.T) {
	r := newReceived(t, bareRun())
	r.pod.Spec.InitContainers = append(r.pod.Spec.InitContainers, corev1.Container{Name: tekton.ResultsSidecar})
	r.look()
	if got := r.verify(t); got.Verdict != verify.Indeterminate || got.Reason != string(verify.CheckReceipt) {
		t.Errorf("got %s %s", got.Verdict, got.Reason)
	}
}

// TestReceiptOfAStoppedRetry: Tekton leaves the artifacts of the attempt before in a retry that it stops. Nothing
// refutes them, and nothing here proves them.
func TestReceiptOfAStoppedRetry(t *testing.T) {
	outputs := func(uri string) *v1.Artifacts {
		return &v1.Artifacts{Outputs: []v1.Artifact{{Name: "image", Values: []v1.ArtifactValue{{Uri: uri}}}}}
	}
	for name, tc := range map[string]struct {
		shown *v1.Artifacts
		want  verify.Verdict
	}{
		"the artifacts of the attempt before": {outputs("pkg:a"), verify.Indeterminate},
		"other artifacts":                     {outputs("pkg:b"), verify.Failed},
		"no artifacts":                        {nil, verify.Indeterminate},
	} {
		r := newReceived(t, bareRun())
		before := *r.tr.Status.DeepCopy()
		before.Artifacts = outputs("pkg:a")
		r.tr.Status.RetriesStatus = []v1.TaskRunStatus{before}
		r.tr.Status.PodName, r.tr.Status.Results, r.tr.Status.Artifacts = r.tr.Name+"-pod-retry1", nil, tc.shown
		stop(r.tr)
		r.look()
		if got := r.verify(t); got.Verdict != tc.want {
			t.Errorf("%s: got %s %s, want %s: %+v", name, got.Verdict, got.Reason, tc.want, got.Checks)
		}
	}
}

// stop makes the TaskRun one that Tekton stopped, as Tekton writes it.
func stop(tr *v1.TaskRun) {
	reason := string(v1.TaskRunReasonTimedOut)
	for i := range tr.Status.Steps {
		s := &tr.Status.Steps[i]
		s.ContainerState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 1, Reason: reason,
			Message: fmt.Sprintf("Step %s terminated as pod %s is terminated", s.Name, tr.Status.PodName),
		}}
	}
	tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionFalse, Reason: reason})
}

// TestRecordNamesProvenAttempts: anyone can write the condition in an archived attempt, so the record names only
// the attempts that its maker vouches for. That is enough for an attempt of which some steps left evidence.
func TestRecordNamesProvenAttempts(t *testing.T) {
	run := bareRun()
	run.Steps[0].Bare = false
	r := newReceived(t, run)
	r.tr.Status.RetriesStatus = []v1.TaskRunStatus{*r.tr.Status.DeepCopy()}
	r.tr.Status.RetriesStatus[0].SetCondition(&apis.Condition{Type: verify.ConditionType, Status: corev1.ConditionTrue})
	result := verify.Result{Verdict: verify.Verified, Cluster: &verify.ClusterRef{UID: string(r.tr.UID)}}
	for name, tc := range map[string]struct{ vouched, want []int }{
		"none": {nil, nil}, "the first": {[]int{0}, []int{0}}, "none that exists": {[]int{1, -1}, nil},
	} {
		made, err := verify.NewRecord(r.tr, result, verify.Recording{At: verifytest.RecordedAt(), Attempts: tc.vouched})
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, a := range made.Predicate.Attempts {
			got = append(got, a.Number)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
		if len(got) == 0 {
			continue
		}
		earlier := *r
		if earlier.tr, err = verify.Attempt(r.tr, 0); err != nil {
			t.Fatal(err)
		}
		earlier.options, earlier.facts = r.options[:1], verify.Facts{Attempt: &made.Predicate.Attempts[0]}
		if got := earlier.verify(t); got.Verdict != verify.Verified || got.Assurance != signing.AssuranceReceipt {
			t.Errorf("the attempt: got %s: %+v", got.Verdict, got.Checks)
		}
		earlier.tr.Status.Steps[0].Terminated.ExitCode++
		if got := earlier.verify(t); got.Verdict == verify.Verified {
			t.Error("the attempt was changed, and verifies")
		}
	}
}
