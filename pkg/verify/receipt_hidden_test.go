// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// TestReceiptOfAHiddenEnd: who can write the status cannot hide what the steps left behind the claim that Tekton
// stopped the run.
func TestReceiptOfAHiddenEnd(t *testing.T) {
	for name, hide := range map[string]func(tr *v1.TaskRun){
		"the steps":   func(tr *v1.TaskRun) { tr.Status.Steps = nil },
		"the results": func(*v1.TaskRun) {},
	} {
		for _, reason := range []v1.TaskRunReason{v1.TaskRunReasonCancelled, v1.TaskRunReasonTimedOut} {
			r := newReceived(t, bareRun())
			r.look()
			hide(r.tr)
			r.tr.Status.Results = nil
			r.tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionFalse,
				Reason: string(reason)})
			if got := r.verify(t); got.Verdict != verify.Indeterminate || got.Reason != string(verify.CheckReceipt) {
				t.Errorf("%s, %s: got %s %s: %+v", name, reason, got.Verdict, got.Reason, got.Checks)
			}
		}
	}
}

// TestReceiptOfARestart: no container of a step is ever restarted, unless somebody changed its image. The kubelet
// then reports what another program left.
func TestReceiptOfARestart(t *testing.T) {
	r := newReceived(t, bareRun())
	r.pod.Status.ContainerStatuses[1].RestartCount = 1
	r.look()
	if got := r.verify(t); got.Verdict != verify.Indeterminate || got.Reason != string(verify.CheckReceipt) {
		t.Errorf("got %s %s: %+v", got.Verdict, got.Reason, got.Checks)
	}
}

// TestLogOfARestart: the log of a results sidecar that was restarted may be that of another program.
func TestLogOfARestart(t *testing.T) {
	r := newLogged(t)
	r.pod.Status.ContainerStatuses[len(r.pod.Status.ContainerStatuses)-1].RestartCount = 1
	r.look()
	if err := r.facts.Pod.Reported.Log.Read([]byte(goodLog)); err != nil {
		t.Fatal(err)
	}
	if got := r.verify(t); got.Verdict != verify.Indeterminate || got.Reason != string(verify.CheckReceipt) {
		t.Errorf("got %s %s: %+v", got.Verdict, got.Reason, got.Checks)
	}
}

// TestLogOfABomb: a log with any number of artifacts is not merged, with and without evidence beside it.
func TestLogOfABomb(t *testing.T) {
	artifacts := v1.Artifacts{Outputs: []v1.Artifact{{Name: "a"}}}
	for i := range 8000 {
		artifacts.Outputs[0].Values = append(artifacts.Outputs[0].Values, v1.ArtifactValue{Uri: fmt.Sprint(i)})
	}
	value, err := json.Marshal(artifacts)
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf(`{"name":"step-build","value":%q,"type":"stepArtifact"}`, value)
	for name, signs := range map[string]bool{"no step signed": false, "one step signed": true} {
		run := bareRun()
		for i := range run.Steps {
			run.Steps[i].Entries = nil
		}
		run.Steps[0].Bare, run.Steps[0].Change = !signs, func(u *signing.Unit) { u.Header.Flags |= signing.FlagSidecarLogs }
		r := newReceived(t, run)
		r.pod.Spec.Containers = append(r.pod.Spec.Containers, corev1.Container{Name: tekton.ResultsSidecar})
		r.look()
		if err := r.facts.Pod.Reported.Log.Read([]byte(line)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got := r.verify(t)
		if took := time.Since(start); got.Verdict == verify.Verified || took > 2*time.Second {
			t.Errorf("%s: got %s after %s", name, got.Verdict, took)
		}
	}
}

// TestAttemptWithoutMessages: an archive that kept no messages still shows a recorded attempt, and what was changed
// in it.
func TestAttemptWithoutMessages(t *testing.T) {
	r := newReceived(t, bareRun())
	r.tr.Status.RetriesStatus = []v1.TaskRunStatus{*r.tr.Status.DeepCopy()}
	result := verify.Result{Verdict: verify.Verified, Cluster: &verify.ClusterRef{UID: string(r.tr.UID)}}
	made, err := verify.NewRecord(r.tr, result, verify.Recording{At: verifytest.RecordedAt(), Attempts: []int{0}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(s *v1.TaskRunStatus)
		want   verify.Verdict
	}{
		"all are gone": {func(*v1.TaskRunStatus) {}, verify.Verified},
		"one is forged": {func(s *v1.TaskRunStatus) { s.Steps[0].Terminated.Message = `[{"key":"a","value":"b","type":1}]` },
			verify.Failed},
		"a result is forged": {func(s *v1.TaskRunStatus) { s.Results[0].Value.StringVal = "x" }, verify.Failed},
	} {
		earlier := *r
		if earlier.tr, err = verify.Attempt(r.tr, 0); err != nil {
			t.Fatal(err)
		}
		earlier.tr = earlier.tr.DeepCopy()
		for i := range earlier.tr.Status.Steps {
			earlier.tr.Status.Steps[i].Terminated.Message = ""
		}
		tc.change(&earlier.tr.Status)
		earlier.options, earlier.facts = r.options[:1], verify.Facts{Attempt: &made.Predicate.Attempts[0]}
		if got := earlier.verify(t); got.Verdict != tc.want {
			t.Errorf("%s: got %s %s: %+v", name, got.Verdict, got.Reason, got.Checks)
		}
	}
}

// TestReceiptShowsNoMessage: the checks of a TaskRun that differs repeat no message, which has results in it that
// nobody is to use.
func TestReceiptShowsNoMessage(t *testing.T) {
	r := newReceived(t, bareRun())
	r.look()
	forge(r.tr)
	got := r.verify(t)
	decided, ok := got.Decided()
	if !ok || decided.ID != verify.CheckReceipt || !strings.HasPrefix(decided.Expected, "sha256:") ||
		!strings.HasPrefix(decided.Got, "sha256:") {
		t.Errorf("got %s: %+v", got.Verdict, decided)
	}
}

// TestReceiptOfARunThatGoesOn: who can write the status can end a TaskRun whose pod still runs, and its results are not
// the last ones. Tekton does so only if a container runs out of memory.
func TestReceiptOfARunThatGoesOn(t *testing.T) {
	for name, tc := range map[string]struct {
		first  string // the reason of the first step
		change func(pod *corev1.Pod)
		want   verify.Verdict
	}{
		"the last step runs":   {"Completed", func(*corev1.Pod) {}, verify.Indeterminate},
		"the kubelet ended it": {"Completed", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, verify.Verified},
		"the first ran out":    {"OOMKilled", func(*corev1.Pod) {}, verify.Verified},
		"the last one is not there": {"Completed", func(p *corev1.Pod) {
			p.Status.ContainerStatuses = p.Status.ContainerStatuses[:1]
		}, verify.Indeterminate},
		"nothing was started": {"Completed", func(p *corev1.Pod) {
			p.Status.Phase, p.Status.ContainerStatuses = corev1.PodPending, nil
		}, verify.Indeterminate},
	} {
		run := bareRun()
		run.Failed, run.Steps[0].Reason, run.Steps[1].Running, run.Steps[1].Entries = true, tc.first, true, nil
		r := newReceived(t, run)
		r.pod.Status.Phase = corev1.PodRunning
		tc.change(r.pod)
		r.tr.Status.Steps = r.tr.Status.Steps[:len(r.pod.Status.ContainerStatuses)]
		if len(r.tr.Status.Steps) == 0 {
			r.tr.Status.Results = nil
		}
		r.tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionFalse,
			Reason: string(v1.TaskRunReasonFailed)})
		r.look()
		if got := r.verify(t); got.Verdict != tc.want {
			t.Errorf("%s: got %s %s: %+v", name, got.Verdict, got.Reason, got.Checks)
		}
	}
}
