// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"fmt"
	"strings"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// newLogged returns a TaskRun whose one result travelled by the log of a results sidecar, which has ended.
func newLogged(t *testing.T) *received {
	t.Helper()
	run := bareRun()
	for i := range run.Steps {
		run.Steps[i].Entries = nil
	}
	r := newReceived(t, run)
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}
	r.pod.Spec.Containers = append(r.pod.Spec.Containers, corev1.Container{Name: tekton.ResultsSidecar})
	r.pod.Status.ContainerStatuses = append(r.pod.Status.ContainerStatuses,
		corev1.ContainerStatus{Name: tekton.ResultsSidecar, State: ended})
	r.tr.Status.Results = []v1.TaskRunResult{
		{Name: "IMAGE_DIGEST", Type: v1.ResultsTypeString, Value: *v1.NewStructuredValues("sha256:1")},
	}
	r.look()
	return r
}

const goodLog = `{"name":"IMAGE_DIGEST","value":"sha256:1","type":"task"}` + "\n"

// TestReceiptOfALog compares what travelled by log with the log, if the add-on could read it.
func TestReceiptOfALog(t *testing.T) {
	for name, tc := range map[string]struct {
		log    string // empty: not read
		change func(tr *v1.TaskRun)
		want   verify.Verdict
		reason verify.CheckID
	}{
		"as logged":   {goodLog, nil, verify.Verified, ""},
		"not read":    {"", nil, verify.Indeterminate, verify.CheckReceipt},
		"another log": {strings.Replace(goodLog, ":1", ":2", 1), nil, verify.Failed, verify.CheckResults},
		"nothing logged": {
			`{"name":"step-build.x","value":"y","type":"step"}` + "\n", nil, verify.Failed, verify.CheckResults,
		},
		"a changed result": {goodLog, func(tr *v1.TaskRun) {
			tr.Status.Results[0].Value.StringVal = "sha256:3"
		}, verify.Failed, verify.CheckResults},
		"a changed exit code": {
			goodLog, func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 }, verify.Failed, verify.CheckReceipt,
		},
		"too many values": {
			strings.Repeat(goodLog, 5000), nil, verify.Indeterminate, verify.CheckReceipt,
		},
	} {
		r := newLogged(t)
		if tc.log != "" {
			if err := r.facts.Pod.Reported.Log.Read([]byte(tc.log)); err != nil {
				t.Fatal(err)
			}
		}
		if tc.change != nil {
			tc.change(r.tr)
		}
		got := r.verify(t)
		if got.Verdict != tc.want || got.Reason != string(tc.reason) {
			t.Errorf("%s: got %s %s, want %s %s: %+v", name, got.Verdict, got.Reason, tc.want, tc.reason, got.Checks)
		}
		if got.Verdict == verify.Verified && len(got.Receipt.Log) != 64 {
			t.Errorf("%s: the receipt has the digest %q of the log", name, got.Receipt.Log)
		}
	}
}

// TestLogThatTektonRefuses counts as not read.
func TestLogThatTektonRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "x\n", "an empty line": goodLog + "\n", "an unknown type": `{"name":"a","value":"b","type":"x"}`,
		"a step's result without a step": `{"name":"a","value":"b","type":"step"}`, "a list": "[]\n",
		"too long": fmt.Sprintf(`{"name":"a","value":%q,"type":"task"}`, strings.Repeat("x", verify.MaxLog)),
	} {
		r := newLogged(t)
		if err := r.facts.Pod.Reported.Log.Read([]byte(text)); err == nil {
			t.Errorf("%s: read", name)
		}
		if got := r.verify(t); got.Verdict != verify.Indeterminate {
			t.Errorf("%s: got %s", name, got.Verdict)
		}
	}
}

// TestLogEnds: the log of a sidecar that still runs may not be complete.
func TestLogEnds(t *testing.T) {
	r := newLogged(t)
	if log := r.facts.Pod.Reported.Log; !log.Used || !log.Ended {
		t.Errorf("got %+v", log)
	}
	last := len(r.pod.Status.ContainerStatuses) - 1
	r.pod.Status.ContainerStatuses[last].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	r.look()
	if log := r.facts.Pod.Reported.Log; !log.Used || log.Ended {
		t.Errorf("a running sidecar: got %+v", log)
	}
}
