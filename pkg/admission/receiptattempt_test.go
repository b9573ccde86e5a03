// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// receipted is a verdict that rests on a receipt of n steps with long texts.
func receipted(n int) verify.Result {
	r := verified()
	r.Cluster = &verify.ClusterRef{UID: runUID}
	r.Basis, r.Receipt = record.BasisReceipt, &record.Receipt{Steps: []record.Step{}}
	for i := range n {
		r.Receipt.Steps = append(r.Receipt.Steps, record.Step{
			Container: fmt.Sprintf("step-%058d", i), Reason: "ContainerStatusUnknown", ImageID: strings.Repeat("x", 512),
			Message: strings.Repeat("0", 64),
		})
	}
	return r
}

// attempt is an archived status, with a condition of ours.
func attempt(pod string) fields {
	return fields{"podName": pod, "steps": []any{fields{"name": "make", "container": "step-make"}},
		"conditions": []any{succeededIs("False"), oursIs("True")}}
}

// A condition in an archived attempt is a claim: only a seal shows that the add-on verified the attempt by a receipt.
func TestAttemptsAreSealed(t *testing.T) {
	withAttempts := func(pods ...string) func(fields) {
		return func(s fields) {
			all := []any{}
			for _, pod := range pods {
				all = append(all, attempt(pod))
			}
			s["retriesStatus"] = all
		}
	}
	handler := newStatusHandler(&fakeVerifier{result: receipted(1)})
	write := func(old, submitted fields) *unstructured.Unstructured {
		t.Helper()
		request := statusWrite(t, old, submitted)
		return &unstructured.Unstructured{Object: stored(t, handler.Admit(t.Context(), request), request.Object)}
	}
	opened := func(taskRun *unstructured.Unstructured, n int) bool {
		found, err := seal.OpenAttempt(testKey(), taskRun, n)
		return err == nil && found.Receipted() && found.Receipt == nil
	}
	judged := write(run("Unknown", nil), run("Unknown", withAttempts("build-pod")))
	if !opened(judged, 0) {
		t.Errorf("an attempt that was judged has no seal: %v", judged.Object["status"])
	}
	if opened(judged, 1) || opened(judged, -1) {
		t.Error("an attempt that does not exist has a seal")
	}
	if forged := write(run("Unknown", nil), run("True", withAttempts("build-pod"))); opened(forged, 0) {
		t.Error("an attempt that came with the write that completed the TaskRun has a seal")
	}
	first, _, _ := unstructured.NestedSlice(judged.Object, "status", "retriesStatus")
	moved := judged.DeepCopy()
	moved.Object["status"].(fields)["retriesStatus"] = []any{attempt("other-pod"), first[0]}
	if opened(moved, 0) || opened(moved, 1) {
		t.Error("the seal of an attempt fits another one")
	}
	changed := judged.DeepCopy()
	changed.Object["status"].(fields)["retriesStatus"].([]any)[0].(fields)["podName"] = "other-pod"
	if opened(changed, 0) {
		t.Error("the seal of an attempt fits a changed one")
	}
}

// The longest receipt fits into a seal.
func TestTheLongestReceiptIsSealed(t *testing.T) {
	request := statusWrite(t, run("Unknown", nil), run("True", nil))
	response := newStatusHandler(&fakeVerifier{result: receipted(record.MaxReceiptSteps)}).Admit(t.Context(), request)
	if after := stored(t, response, request.Object); sealOf(after) == nil {
		t.Error("expected a seal")
	}
}

// Where nothing shows since when a namespace is behind the policies, anyone may have made the pod.
func TestReportsNeedAFence(t *testing.T) {
	for name, tc := range map[string]struct {
		since    time.Time
		granted  bool
		reported bool
		unfenced bool
	}{
		"no grant":           {time.Time{}, false, true, true},
		"no grant, evidence": {time.Time{}, false, false, false},
		"a later grant":      {testNow().Add(time.Second), true, true, true},
		"of the same second": {testNow(), true, true, true},
		"evidence of it":     {testNow(), true, false, false},
		"an earlier grant":   {testNow().Add(-time.Second), true, true, false},
	} {
		handler := newStatusHandler(&fakeVerifier{})
		handler.Since = func(string) (time.Time, bool) { return tc.since, tc.granted }
		old, err := parseObject(raw(t, run("True", nil)).Raw)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := asStored(old, old.state)
		if err != nil {
			t.Fatal(err)
		}
		facts, err := handler.lookAtPod(t.Context(), tr, tc.reported)
		if err != nil || facts.Unfenced != tc.unfenced {
			t.Errorf("%s: got %+v, %v", name, facts, err)
		}
	}
}
