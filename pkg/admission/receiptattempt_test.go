// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
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
	if late := write(run("Unknown", nil), run("True", withAttempts("build-pod"))); !opened(late, 0) {
		t.Error("an attempt that came with the write that completed the TaskRun was not judged")
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

// A condition in an attempt that comes with the write that completes the TaskRun is replaced, whatever the
// TaskRun's own verdict.
func TestForgedAttemptInTheCompletingWrite(t *testing.T) {
	forged := func(s fields) { s["retriesStatus"] = []any{attempt("build-pod")} }
	bare := func(s fields) { delete(s, "podName"); delete(s, "steps"); delete(s, "results") }
	nothing := func(s fields) { // neither a pod nor a step: nothing to verify
		bare(s)
		s["retriesStatus"] = []any{fields{"conditions": []any{succeededIs("False"), oursIs("True")}}}
	}
	for name, write := range map[string]struct{ old, submitted fields }{
		"it completes":     {run("Unknown", nil), run("True", forged)},
		"it was completed": {run("True", nil), run("True", forged)},
		"it fails":         {run("Unknown", nil), run("False", forged)},
		"it ran nothing":   {run("Unknown", bare), run("False", nothing)},
	} {
		request := statusWrite(t, write.old, write.submitted)
		handler := newStatusHandler(&fakeVerifier{result: failing(verify.Failed)})
		after := stored(t, handler.Admit(t.Context(), request), request.Object)
		attempts, _, _ := unstructured.NestedSlice(after, "status", "retriesStatus")
		for _, c := range ourConditions(fields{"status": attempts[0]}) {
			if c["status"] == "True" {
				t.Errorf("%s: a forged condition stands: %v", name, c)
			}
		}
	}
}

// A pod that differs is read twice, and a second read that fails proves nothing: audit says so, enforce refuses the
// write.
func TestSecondLook(t *testing.T) {
	differs := verify.Result{Verdict: verify.Failed, Reason: "receipt",
		Checks: []verify.Check{{ID: verify.CheckReceipt, Status: verify.Fail}}}
	for name, tc := range map[string]struct {
		mode  settings.Enforcement
		again error
		calls int
		want  string // in the condition, or in the refusal
	}{
		"the same twice":             {settings.Audit, nil, 2, "FAILED"},
		"no second answer, audit":    {settings.Audit, context.DeadlineExceeded, 1, "INDETERMINATE: receipt"},
		"no second answer, enforced": {settings.Enforce, context.DeadlineExceeded, 1, "could not be read twice"},
	} {
		verifier := &fakeVerifier{result: differs}
		handler := newStatusHandler(verifier)
		handler.Pods = &failingTwice{PodGetter: handler.Pods, err: tc.again}
		handler.Scope = fakeScope{backend: signing.BackendReceipt, mode: tc.mode}
		request := statusWrite(t, run("Unknown", nil), run("True", nil))
		response := handler.Admit(t.Context(), request)
		text := ""
		if response.Allowed {
			text = fmt.Sprint(ourConditions(stored(t, response, request.Object)))
		} else {
			text = response.Result.Message
		}
		if verifier.calls != tc.calls || !strings.Contains(text, tc.want) {
			t.Errorf("%s: judged %d times, %s", name, verifier.calls, text)
		}
	}
}

// failingTwice answers the second read and all later ones with an error.
type failingTwice struct {
	PodGetter

	err   error
	reads int
}

func (f *failingTwice) Get(ctx context.Context, namespace, name string, whole bool) (*corev1.Pod, error) {
	if f.reads++; f.reads > 1 && f.err != nil {
		return nil, f.err
	}
	return f.PodGetter.Get(ctx, namespace, name, whole)
}

// Little time left is too little for a second look.
func TestSecondLookNeedsTime(t *testing.T) {
	handler := newStatusHandler(&fakeVerifier{})
	ctx, cancel := context.WithTimeout(t.Context(), podTimeout-time.Second)
	defer cancel()
	if _, err := handler.readAgain(ctx, &v1.TaskRun{}); err == nil {
		t.Error("the pod was read again")
	}
	if _, err := handler.readAgain(t.Context(), &v1.TaskRun{}); err != nil {
		t.Errorf("with time enough: %v", err)
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
		backend  signing.Backend
		unfenced bool
	}{
		"no grant":           {time.Time{}, false, true, signing.BackendOIDCSAToken, true},
		"no grant, evidence": {time.Time{}, false, false, signing.BackendOIDCSAToken, false},
		"no grant, an SVID":  {time.Time{}, false, false, signing.BackendSPIRE, true}, // SPIRE issues it without a grant
		"a later grant":      {testNow().Add(time.Second), true, true, signing.BackendOIDCSAToken, true},
		"of the same second": {testNow(), true, true, signing.BackendOIDCSAToken, true},
		"evidence of it":     {testNow(), true, false, signing.BackendOIDCSAToken, false},
		"an SVID of it":      {testNow(), true, false, signing.BackendSPIRE, true},
		"an earlier grant":   {testNow().Add(-time.Second), true, true, signing.BackendOIDCSAToken, false},
		"an SVID after it":   {testNow().Add(-time.Second), true, false, signing.BackendSPIRE, false},
	} {
		handler := newStatusHandler(&fakeVerifier{})
		handler.Scope = fakeScope{backend: tc.backend}
		handler.Since = func(string) (time.Time, bool) { return tc.since, tc.granted }
		old, err := parseObject(raw(t, run("True", nil)).Raw)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := asStored(old, old.state)
		if err != nil {
			t.Fatal(err)
		}
		facts, err := handler.readPod(t.Context(), tr, tc.reported)
		if err != nil || facts.Unfenced != tc.unfenced {
			t.Errorf("%s: got %+v, %v", name, facts, err)
		}
	}
}

// The log of the results sidecar is read if the settings say so and the sidecar has ended. What keeps it from being
// read is said.
func TestReadLog(t *testing.T) {
	const good = `{"name":"a","value":"b","type":"task"}`
	for name, tc := range map[string]struct {
		on, used, ended bool
		pods            fakePods
		missing         string // in what is said; empty: the log was read
	}{
		"read":              {true, true, true, fakePods{log: good}, ""},
		"switched off":      {false, true, true, fakePods{log: good}, "not tried"},
		"no sidecar":        {true, false, true, fakePods{log: good}, "not tried"},
		"not ended":         {true, true, false, fakePods{log: good}, "the sidecar has not ended"},
		"no answer":         {true, true, true, fakePods{logErr: context.DeadlineExceeded}, context.DeadlineExceeded.Error()},
		"nothing to expect": {true, true, true, fakePods{log: "x"}, "line 1"},
	} {
		handler := newStatusHandler(&fakeVerifier{})
		tc.pods.pod = &metav1.PartialObjectMetadata{}
		handler.Pods, handler.Scope = tc.pods, fakeScope{backend: signing.BackendReceipt, logs: tc.on}
		log := verify.ResultsLog{Used: tc.used, Ended: tc.ended, Missing: "not tried"}
		handler.readLog(t.Context(), &corev1.Pod{}, &log)
		if read := log.Digest != ""; read != (tc.missing == "") {
			t.Errorf("%s: read %v: %+v", name, read, log)
		}
		if tc.missing != "" && !strings.Contains(log.Missing, tc.missing) {
			t.Errorf("%s: got %q, want %q in it", name, log.Missing, tc.missing)
		}
	}
}

// A log is read by the name of the pod: whoever puts another pod in its place meanwhile has forged nothing.
func TestLogOfAReplacedPod(t *testing.T) {
	for name, tc := range map[string]struct {
		after *metav1.PartialObjectMetadata
		err   error
		want  string // in what is said; empty: the log was read
	}{
		"the same pod": {&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: podUID}}, nil, ""},
		"another pod":  {&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: "b"}}, nil, "was replaced"},
		"no pod":       {nil, context.DeadlineExceeded, context.DeadlineExceeded.Error()},
	} {
		handler := newStatusHandler(&fakeVerifier{})
		handler.Scope = fakeScope{backend: signing.BackendReceipt, logs: true}
		handler.Pods = fakePods{pod: tc.after, err: tc.err, log: `{"name":"a","value":"b","type":"task"}`}
		log := verify.ResultsLog{Used: true, Ended: true}
		handler.readLog(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: podUID}}, &log)
		if read := log.Digest != ""; read != (tc.want == "") || !strings.Contains(log.Missing, tc.want) {
			t.Errorf("%s: read %v, %q", name, read, log.Missing)
		}
	}
}
