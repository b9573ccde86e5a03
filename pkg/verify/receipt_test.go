// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// received returns a TaskRun whose steps left no evidence, with the pod that the add-on reads.
type received struct {
	cluster *verifytest.Cluster
	tr      *v1.TaskRun
	pod     *corev1.Pod
	facts   verify.Facts
	options []verify.Option
}

// bareRun returns a run whose steps do not sign.
func bareRun() *verifytest.Run {
	run := verifytest.NewRun()
	for i := range run.Steps {
		run.Steps[i].Bare = true
	}
	return run
}

func newReceived(t *testing.T, run *verifytest.Run) *received {
	t.Helper()
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	r := &received{cluster: cluster, options: []verify.Option{verify.WithClock(verifytest.RecordedAt),
		verify.WithReceipts()}}
	if r.pod, err = run.Pod(cluster); err != nil {
		t.Fatal(err)
	}
	// Makes the messages once, because signatures differ each time.
	if r.tr, err = run.TaskRunOf(r.pod.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	return r
}

// verify verifies as the add-on does.
func (r *received) verify(t *testing.T) verify.Result {
	t.Helper()
	trusted, err := r.cluster.Trust()
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(trusted, r.options...)
	if err != nil {
		t.Fatal(err)
	}
	return v.TaskRun(t.Context(), r.tr, r.facts)
}

// look returns the facts about the pod as it is now.
func (r *received) look() {
	facts := verify.FactsOf(r.pod)
	facts.Reported = verify.ReportOf(r.pod)
	r.facts = verify.Facts{Live: true, Pinned: true, RequirePod: true, Pod: facts}
}

// TestReceiptWithoutRoom: a TaskRun that the add-on stored without evidence, for want of room, is not taken for a
// changed one, unless something else was changed.
func TestReceiptWithoutRoom(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(tr *v1.TaskRun)
		want   verify.Verdict
	}{
		"as stored":         {func(*v1.TaskRun) {}, verify.Indeterminate},
		"another exit code": {func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 }, verify.Failed},
		"another value":     {forge, verify.Failed},
	} {
		r := newReceived(t, verifytest.NewRun())
		r.look()
		tc.change(r.tr)
		for i := range r.tr.Status.Steps {
			terminated := r.tr.Status.Steps[i].Terminated
			message, ok := signing.WithoutEvidence(terminated.Message)
			if !ok {
				t.Fatalf("step %d has no evidence", i)
			}
			terminated.Message = message
		}
		verifytest.DropCarriers(r.tr)
		if got := r.verify(t); got.Verdict != tc.want {
			t.Errorf("%s: got %s %s: %s", name, got.Verdict, got.Reason, got.Message)
		}
	}
}

// TestReceipt compares TaskRuns without evidence with what the kubelet reported.
func TestReceipt(t *testing.T) {
	type change func(r *received)
	reported := func(do func(c *corev1.ContainerStatus)) change {
		return func(r *received) { do(&r.pod.Status.ContainerStatuses[0]); r.look() }
	}
	shown := func(do func(tr *v1.TaskRun)) change { return func(r *received) { do(r.tr) } }
	for name, tc := range map[string]struct {
		run     func(*verifytest.Run)
		change  change
		verdict verify.Verdict
		reason  verify.CheckID
	}{
		"as reported": {nil, nil, verify.Verified, ""},
		"twenty steps": {func(r *verifytest.Run) {
			for range 18 {
				r.Steps = append(r.Steps, verifytest.Step{Name: "more" + strings.Repeat("x", len(r.Steps)), Bare: true})
			}
		}, nil, verify.Verified, ""},
		"no results": {
			func(r *verifytest.Run) {
				r.Spec.Results = nil
				r.Steps[0].Entries, r.Steps[1].Entries = nil, nil
			}, nil, verify.Verified, "",
		},
		"failed step": {
			func(r *verifytest.Run) {
				r.Failed, r.Steps[1].ExitCode, r.Steps[1].Reason = true, 3, "Error"
			}, nil, verify.Verified, "",
		},

		"a result was changed": {
			nil, shown(func(tr *v1.TaskRun) { tr.Status.Results[0].Value.StringVal = "sha256:0" }), verify.Failed,
			verify.CheckResults,
		},
		"a result was added": {nil, shown(func(tr *v1.TaskRun) {
			tr.Status.Results = append(tr.Status.Results,
				v1.TaskRunResult{Name: "X", Type: "string", Value: *v1.NewStructuredValues("y")})
		}), verify.Failed, verify.CheckResults},
		"result and message": {nil, shown(forge), verify.Failed, verify.CheckReceipt},
		"another exit code": {
			nil, shown(func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 }), verify.Failed, verify.CheckReceipt,
		},
		"another reason": {
			nil, shown(func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.Reason = "Error" }), verify.Failed,
			verify.CheckReceipt,
		},
		"another image": {
			nil, shown(func(tr *v1.TaskRun) { tr.Status.Steps[0].ImageID = "x@sha256:1" }), verify.Failed, verify.CheckReceipt,
		},
		"a step was removed": {
			nil, shown(func(tr *v1.TaskRun) { tr.Status.Steps = tr.Status.Steps[:1] }), verify.Failed, verify.CheckReceipt,
		},
		"steps were swapped": {
			nil, shown(func(tr *v1.TaskRun) { s := tr.Status.Steps; s[0], s[1] = s[1], s[0] }), verify.Failed,
			verify.CheckReceipt,
		},
		"a step never ended": {
			nil, shown(func(tr *v1.TaskRun) { tr.Status.Steps[1].ContainerState = corev1.ContainerState{} }), verify.Failed,
			verify.CheckReceipt,
		},
		"a container failed": {
			nil, reported(func(c *corev1.ContainerStatus) { c.State.Terminated.ExitCode = 1 }), verify.Failed,
			verify.CheckReceipt,
		},
		"out of memory, exit code 0": {nil, func(r *received) {
			r.pod.Status.ContainerStatuses[0].State.Terminated.Reason = "OOMKilled"
			r.tr.Status.Steps[0].Terminated.Reason = "OOMKilled"
			r.look()
		}, verify.Failed, verify.CheckSucceeded},
		"no node": {
			nil, func(r *received) { r.pod.Spec.NodeName = ""; r.look() }, verify.Indeterminate, verify.CheckReceipt,
		},
		"an unknown phase": {nil, func(r *received) {
			r.pod.Status.Phase = corev1.PodPhase(strings.Repeat("x", 1<<20))
			r.look()
		}, verify.Indeterminate, verify.CheckReceipt},
		"a container never ran": {nil, func(r *received) {
			r.pod.Status.ContainerStatuses = nil
			r.tr.Status.Steps = nil
			r.tr.Status.Results = nil
			r.look()
		}, verify.Failed, verify.CheckSucceeded},
		"failed, shown as good": {
			func(r *verifytest.Run) {
				r.Failed, r.Steps[1].ExitCode, r.Steps[1].Reason = true, 3, "Error"
			}, shown(succeed), verify.Failed, verify.CheckSucceeded,
		},
		"the pod is gone": {
			nil, func(r *received) { r.facts.Pod = &verify.PodFacts{} }, verify.Indeterminate, verify.CheckReceipt,
		},
		"nobody read the pod": {
			nil, func(r *received) { r.facts.Pod.Reported = nil }, verify.Indeterminate, verify.CheckReceipt,
		},
		"nobody looked": {nil, func(r *received) { r.facts.Pod = nil }, verify.Indeterminate, verify.CheckReceipt},
		"a pod of somebody else": {
			nil, func(r *received) { r.facts.Pod.ControllerUID = "x" }, verify.Failed, verify.CheckPod,
		},
		"a pod of before": {
			nil, func(r *received) { r.facts.Pod.Unfenced = true }, verify.Indeterminate, verify.CheckReceipt,
		},
		"from a file": {
			nil, func(r *received) { r.facts.Live = false }, verify.Indeterminate, verify.CheckReceipt,
		},
		"values by log": {nil, func(r *received) {
			r.pod.Spec.Containers = append(r.pod.Spec.Containers, corev1.Container{Name: tekton.ResultsSidecar})
			r.look()
		}, verify.Indeterminate, verify.CheckReceipt},
		"receipts are off": {nil, func(r *received) { r.options = r.options[:1] }, verify.Unsigned, verify.CheckCoverage},
		"a higher assurance": {nil, func(r *received) {
			r.options = append(r.options, verify.WithMinimumAssurance(signing.AssuranceKeyBound))
		}, verify.Failed, verify.CheckAssurance},
		"this assurance": {nil, func(r *received) {
			r.options = append(r.options, verify.WithMinimumAssurance(signing.AssuranceReceipt))
		}, verify.Verified, ""},
	} {
		t.Run(name, func(t *testing.T) {
			run := bareRun()
			if tc.run != nil {
				tc.run(run)
			}
			r := newReceived(t, run)
			r.look()
			if tc.change != nil {
				tc.change(r)
			}
			got := r.verify(t)
			if got.Verdict != tc.verdict || got.Reason != string(tc.reason) {
				t.Fatalf("got %s %s, want %s %s:\n%+v", got.Verdict, got.Reason, tc.verdict, tc.reason, got.Checks)
			}
			if got.Verdict == verify.Verified && (got.Backend != signing.BackendReceipt ||
				got.Assurance != signing.AssuranceReceipt ||
				got.Basis != record.BasisReceipt || got.Receipt == nil || len(got.Receipt.Steps) != len(run.Steps) ||
				got.Receipt.Phase != string(r.pod.Status.Phase) ||
				len(got.Caveats) == 0) {
				t.Errorf("got %s, %s, %q, %+v, %q", got.Backend, got.Assurance, got.Basis, got.Receipt, got.Caveats)
			}
		})
	}
}

// forge changes a result and the message from which it came.
func forge(tr *v1.TaskRun) {
	const old = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	const forged = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	t := tr.Status.Steps[0].Terminated
	t.Message = strings.ReplaceAll(t.Message, old, forged)
	for i := range tr.Status.Results {
		if tr.Status.Results[i].Value.StringVal == old {
			tr.Status.Results[i].Value.StringVal = forged
		}
	}
}

func succeed(tr *v1.TaskRun) {
	tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionTrue,
		Reason: "Succeeded"})
}

// TestReceiptBesideEvidence checks that the receipt covers a step that could not sign, and that the evidence
// of the others still counts.
func TestReceiptBesideEvidence(t *testing.T) {
	run := verifytest.NewRun()
	run.Steps[1].Unsigned = signing.UnsignedTooLong
	r := newReceived(t, run)
	r.look()
	if got := r.verify(t); got.Verdict != verify.Verified || got.Basis != record.BasisBoth ||
		got.Assurance != signing.AssuranceReceipt {
		t.Fatalf("got %s, %q, %s: %+v", got.Verdict, got.Basis, got.Assurance, got.Checks)
	}
	for name, change := range map[string]func(tr *v1.TaskRun){
		"the signed step":   func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 },
		"the unsigned step": func(tr *v1.TaskRun) { tr.Status.Steps[1].Terminated.ExitCode = 1 },
		"a result":          func(tr *v1.TaskRun) { tr.Status.Results[0].Value.StringVal = "x" },
	} {
		changed := *r
		changed.tr = r.tr.DeepCopy()
		change(changed.tr)
		if got := changed.verify(t); got.Verdict != verify.Failed {
			t.Errorf("%s was changed: got %s", name, got.Verdict)
		}
	}
	forged := *r
	forged.tr = r.tr.DeepCopy()
	forged.facts.Pod = &verify.PodFacts{}
	if got := forged.verify(t); got.Verdict == verify.Verified {
		t.Errorf("without a pod: got %s", got.Verdict)
	}
}

// TestRecordOfAReceipt checks that the record replaces the pod, with and without messages, and that recorded
// fields cannot be changed.
func TestRecordOfAReceipt(t *testing.T) {
	r := newReceived(t, bareRun())
	r.look()
	seen := r.verify(t)
	if err := r.cluster.Record(r.tr, verifytest.Recording{Live: true,
		Result: func(got *verify.Result) { *got = seen }}); err != nil {
		t.Fatal(err)
	}
	offline := func(change func(*v1.TaskRun), options ...verify.Option) verify.Result {
		file := *r
		file.tr = r.tr.DeepCopy()
		if change != nil {
			change(file.tr)
		}
		file.facts, file.options = verify.Facts{}, slices.Concat(options,
			[]verify.Option{verify.WithClock(verifytest.RecordedAt)})
		return file.verify(t)
	}
	noMessages := func(tr *v1.TaskRun) {
		for i := range tr.Status.Steps {
			tr.Status.Steps[i].Terminated.Message = ""
		}
	}
	for name, change := range map[string]func(*v1.TaskRun){"with messages": nil, "without messages": noMessages} {
		got := offline(change)
		if got.Verdict != verify.Verified || got.Backend != signing.BackendReceipt ||
			got.Assurance != signing.AssuranceReceipt {
			t.Errorf("%s: got %s, %s, %s: %+v", name, got.Verdict, got.Backend, got.Assurance, got.Checks)
		}
		if diff := cmp.Diff(seen.Receipt, got.Receipt); diff != "" {
			t.Errorf("%s: receipt (-seen +recorded):\n%s", name, diff)
		}
	}
	if got := offline(nil, verify.WithMinimumAssurance(signing.AssuranceKeyBound)); got.Verdict != verify.Failed {
		t.Errorf("with a higher minimum assurance: got %s", got.Verdict)
	}
	for name, change := range map[string]func(*v1.TaskRun){
		"a result":          func(tr *v1.TaskRun) { tr.Status.Results[0].Value.StringVal = "x" },
		"result, message":   forge,
		"an exit code":      func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 },
		"an image":          func(tr *v1.TaskRun) { tr.Status.Steps[0].ImageID = "x" },
		"a step":            func(tr *v1.TaskRun) { tr.Status.Steps = tr.Status.Steps[1:] },
		"the pod":           func(tr *v1.TaskRun) { tr.Status.PodName = "other-pod" },
		"the UID":           func(tr *v1.TaskRun) { tr.UID = "00000000-0000-4000-8000-000000000000" },
		"the outcome":       func(tr *v1.TaskRun) { tr.Status.Conditions[0].Status = corev1.ConditionFalse },
		"a message is gone": func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.Message = "" },
	} {
		if got := offline(change); got.Verdict != verify.Failed {
			t.Errorf("%s was changed: got %s, want FAILED: %+v", name, got.Verdict, got.Checks)
		}
	}
	noRecord := offline(func(tr *v1.TaskRun) { tr.Status.Annotations = nil })
	if noRecord.Verdict != verify.Unsigned {
		t.Errorf("without the record: got %s", noRecord.Verdict)
	}
}
