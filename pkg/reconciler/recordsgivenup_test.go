// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// What no repetition mends is given up, said once, counted, and left alone until it changes.
func TestRecordsHopeless(t *testing.T) {
	for name, refusal := range map[string]error{
		"413":  apierrors.NewRequestEntityTooLargeError("limit is 3145728"),
		"422":  apierrors.NewInvalid(schema.GroupKind{Kind: "TaskRun"}, "build", nil),
		"etcd": apierrors.NewInternalError(errors.New("etcdserver: request is too large")),
		"grpc": apierrors.NewInternalError(
			errors.New("rpc error: code = ResourceExhausted desc = trying to send message larger than max (2097200 vs. " +
				"2097152)")),
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, nil)
			lab.refusal = refusal
			for range 3 {
				if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
					t.Fatal(err)
				}
			}
			told := lab.told(t)
			if len(lab.patches) != 1 || lab.givenUp != 1 || len(lab.verdicts) != 1 || len(told) != 1 ||
				!strings.HasPrefix(told[0], "Warning "+ReasonNotRecorded) {
				t.Errorf("%d writes, given up %d times, verdicts %q, events %q", len(lab.patches), lab.givenUp, lab.verdicts, told)
			}
			lab.refusal = nil
			object := untyped(t, lab.stored(t))
			object.SetResourceVersion("8")
			if err := lab.api.Tracker().Update(tektonResource(TaskRuns), object, "ci"); err != nil {
				t.Fatal(err)
			}
			if err := lab.Reconcile(t.Context(), "ci/build"); err != nil || len(lab.patches) != 2 {
				t.Errorf("after a change: %d writes, %v", len(lab.patches), err)
			}
		})
	}
}

func TestHopelessIsBounded(t *testing.T) {
	h := newHopeless()
	object := func(i int) *metav1.ObjectMeta {
		return &metav1.ObjectMeta{UID: types.UID(strconv.Itoa(i)), ResourceVersion: "1"}
	}
	for i := range maxHopeless + 10 {
		h.add(object(i))
	}
	if len(h.at) != maxHopeless || h.has(object(9)) || !h.has(object(10)) {
		t.Errorf("%d are remembered", len(h.at))
	}
}

// What ended early is no alarm, unless it FAILED.
func TestCounted(t *testing.T) {
	for name, test := range map[string]struct {
		verdict verify.Verdict
		state   taskRunState
		want    string
	}{
		"cancelled": {verify.Unsigned, taskRunState{succeeded: condition{"False", "TaskRunCancelled", ""},
			hasPod: true}, "cancelled"},
		"timed out": {verify.Indeterminate, taskRunState{succeeded: condition{"False", "TaskRunTimeout", ""},
			hasPod: true}, "timed-out"},
		"without a pod": {verify.Unsigned, taskRunState{succeeded: condition{"False", "Failed", ""}}, "no-pod"},
		"failed": {verify.Unsigned, taskRunState{succeeded: condition{"False", "Failed", ""}, hasPod: true},
			"coverage"},
		"cancelled, tampered": {verify.Failed, taskRunState{succeeded: condition{"False", "TaskRunCancelled", ""},
			hasPod: true}, "coverage"},
		"succeeded": {verify.Unsigned, taskRunState{succeeded: condition{"True", "TaskRunCancelled", ""}},
			"coverage"},
	} {
		if got := counted(verify.Result{Verdict: test.verdict, Reason: "coverage"}, test.state); got.Reason != test.want {
			t.Errorf("%s: expected %s, got %s", name, test.want, got.Reason)
		}
	}
}

func TestRecordsFailures(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(*recordsLab)
		want   string
	}{
		"no key": {func(l *recordsLab) { l.SealKey = func() seal.Key { return seal.Key{} } },
			"the status webhook did not judge"},
		"the token": {func(l *recordsLab) {
			l.Token = func(context.Context, signing.Digest) (string, error) { return "", errors.New("denied") }
		}, "asking for the record's proof: denied"},
		"another version": {func(l *recordsLab) {
			token := l.Token
			l.Token = func(ctx context.Context, d signing.Digest) (string, error) {
				o, err := l.api.Tracker().Get(tektonResource(TaskRuns), "ci", "build")
				if err != nil {
					return "", err
				}
				changed := o.(*unstructured.Unstructured).DeepCopy()
				changed.SetResourceVersion("8")
				if err := l.api.Tracker().Update(tektonResource(TaskRuns), changed, "ci"); err != nil {
					return "", err
				}
				return token(ctx, d)
			}
		}, "another version"},
		"another webhook": {func(l *recordsLab) {
			l.webhook = func(o *unstructured.Unstructured) { unstructured.RemoveNestedField(o.Object, "status", "annotations") }
		}, "was not stored as it was written"},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, nil)
			test.damage(lab)
			if err := lab.Reconcile(t.Context(), "ci/build"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("expected an error with %q, got %v", test.want, err)
			}
			if _, ok := lab.stored(t).Status.Annotations[record.Annotation]; ok {
				t.Error("expected no record, got one")
			}
		})
	}
}

// A TaskRun that cannot be recorded is left alone after a while.
func TestRecordsGivesUp(t *testing.T) {
	lab := newRecordsLab(t, nil)
	lab.Token = func(context.Context, signing.Digest) (string, error) { return "", errors.New("denied") }
	id := types.NamespacedName{Namespace: "ci", Name: "build"}
	for i := range recordRetries {
		if err := lab.Reconcile(t.Context(), "ci/build"); err == nil {
			t.Fatalf("attempt %d: expected an error, got none", i)
		}
		lab.queue.WorkQueue().AddRateLimited(id)
	}
	if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Errorf("expected no more attempts, got %v", err)
	}
}
