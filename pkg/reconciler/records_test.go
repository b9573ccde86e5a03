// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// podUID is the pod that the evidence names.
const podUID = "3db15e48-971f-4815-84b3-272e52f61a10"

func TestRecordsWritesARecordThatVerifies(t *testing.T) {
	lab := newRecordsLab(t, nil)
	if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Fatal(err)
	}
	got := lab.verified(t)
	if got.Verdict != verify.Verified || got.Record == nil || got.Record.Verdict != verify.Verified ||
		got.Time.Source != verify.TimeFromRecord {
		t.Fatalf("expected VERIFIED with a record, got %s %+v %+v", got.Verdict, got.Record, got.Checks)
	}
	if diff := cmp.Diff([]string{"6340374f-3a88-4ff2-812e-c155a2d8e142 7"}, lab.patches); diff != "" {
		t.Errorf("patches (-want +got):\n%s", diff)
	}
	if told := lab.told(t); len(told) != 0 {
		t.Errorf("expected no event of a good verdict, got %q", told)
	}
	if len(lab.recorded) != 1 || lab.recorded[0] != nil || len(lab.caughtUp) != 0 {
		t.Errorf("expected one record counted, got %v and %v", lab.recorded, lab.caughtUp)
	}
	before := len(lab.api.Actions())
	if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Fatal(err)
	}
	if n := len(lab.api.Actions()) - before; n != 1 {
		t.Errorf("recorded already: expected one look, got %d requests", n)
	}
}

// The pod is gone when the record is written: it says what was seen.
func TestRecordsSaysWhatWasSeen(t *testing.T) {
	lab := newRecordsLab(t, nil)
	if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Fatal(err)
	}
	encoded, err := record.Decode(lab.stored(t).Status.Annotations[record.Annotation])
	if err != nil {
		t.Fatal(err)
	}
	p := encoded.Record.Predicate
	if p.Verdict != "VERIFIED" || p.PodUID != podUID || !p.VerifiedAt.Equal(verifytest.RecordedAt()) ||
		p.Assurance == "" || len(p.Keys) == 0 ||
		!slices.Contains(p.Checks, record.Check{ID: "pod", Status: "pass"}) ||
		!slices.Contains(p.Checks, record.Check{ID: "declaration", Status: "pass"}) {
		t.Errorf("recorded %+v", p)
	}
	if diff := cmp.Diff([]string{"VERIFIED "}, lab.verdicts); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestRecordsTellsOfABadVerdict(t *testing.T) {
	lab := newRecordsLab(t, func(tr *v1.TaskRun) {
		tr.Status.Results[0].Value.StringVal = "x"
		setVerdict(tr, "False", "FAILED: results: \x1b[2K\r✓ VERIFIED "+strings.Repeat("x", 2000))
	})
	for range 2 {
		if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
			t.Fatal(err)
		}
	}
	told := lab.told(t)
	if len(told) != 1 || !strings.HasPrefix(told[0],
		`Warning TaskRunResultsVerificationFailed: FAILED: results: \x1b[2K\r✓ VERIFIED`) || len(told[0]) > 1100 {
		t.Errorf("expected one Warning without control characters, got %q", told)
	}
	if got := lab.verified(t); got.Record == nil || got.Record.Verdict != verify.Failed || got.Verdict != verify.Failed {
		t.Errorf("expected FAILED, recorded as FAILED, got %s and %+v", got.Verdict, got.Record)
	}
}

// A namespace in which no event may be made gets its records all the same; another failure is tried again.
func TestRecordsWithoutEvents(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want bool // a record
	}{
		"a quota": {apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", errors.New("exceeded quota")),
			true},
		"out of reach": {errors.New("connection refused"), false},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, func(tr *v1.TaskRun) { setVerdict(tr, "False", "FAILED: results") })
			lab.events.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object,
				error) {
				return true, nil, test.err
			})
			err := lab.Reconcile(t.Context(), "ci/build")
			_, recorded := lab.stored(t).Status.Annotations[record.Annotation]
			if (err == nil) != test.want || recorded != test.want {
				t.Errorf("expected a record %v, got %v and %v", test.want, recorded, err)
			}
		})
	}
}

// Enforcement took the results out, or somebody changed something: verification of what is left may find nothing.
func TestRecordsNeverImprovesAVerdict(t *testing.T) {
	lab := newRecordsLab(t, func(tr *v1.TaskRun) { setVerdict(tr, "False", "FAILED: enforcement took the results away") })
	if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Fatal(err)
	}
	got := lab.verified(t)
	if got.Verdict != verify.Failed || got.Reason != string(verify.CheckRecord) || got.Record.Verdict != verify.Failed {
		t.Errorf("expected FAILED record, got %s %s and %+v", got.Verdict, got.Reason, got.Record)
	}
}

func TestRecordsCatchesUp(t *testing.T) {
	lab := newRecordsLab(t, func(tr *v1.TaskRun) { tr.Status.Conditions = tr.Status.Conditions[:1] })
	lab.webhook = lab.judges(t, "True", "VERIFIED: 3 results; verified late, the add-on did not see",
		lab.found(t, lab.stored(t)))
	if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{" ", "6340374f-3a88-4ff2-812e-c155a2d8e142 7"}, lab.patches); diff != "" {
		t.Errorf("patches (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Normal TaskRunResultsVerifiedLate: VERIFIED: " +
		"3 results; verified late, the add-on did not see"}, lab.told(t)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := lab.verified(t); got.Record == nil || got.Record.Verdict != verify.Verified {
		t.Errorf("expected a record, got %+v", got.Checks)
	}
	if len(lab.caughtUp) != 1 || lab.caughtUp[0] != nil || len(lab.recorded) != 1 {
		t.Errorf("expected one TaskRun counted, got %v and %v", lab.caughtUp, lab.recorded)
	}
}

// A record stands for the seal where an earlier version of the add-on wrote it: if it is good, and says what the
// condition says.
func TestRecordsTakesARecordForASeal(t *testing.T) {
	for name, test := range map[string]struct {
		condition corev1.ConditionStatus
		change    func(*v1.TaskRun)
		want      task
	}{
		"good":                    {"True", func(*v1.TaskRun) {}, nothing},
		"the condition is better": {"False", func(*v1.TaskRun) {}, ask},
		"of another state":        {"True", func(tr *v1.TaskRun) { tr.Status.Results[0].Value.StringVal = "evil" }, ask},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, nil)
			tr := lab.stored(t)
			delete(tr.Status.Annotations, seal.Annotation)
			if err := lab.cluster.Record(tr, verifytest.Recording{}); err != nil {
				t.Fatal(err)
			}
			setVerdict(tr, test.condition, "VERIFIED")
			test.change(tr)
			if got, _ := lab.todo(t.Context(), untyped(t, tr)); got != test.want {
				t.Errorf("expected %d, got %d", test.want, got)
			}
		})
	}
}

// What stands there without a seal that fits is a claim: it is judged again, replaced, and said.
func TestRecordsReplacesClaims(t *testing.T) {
	forged := "v1.e30.AAAA"
	for name, change := range map[string]func(*v1.TaskRun){
		"with nonsense for a seal": func(
			tr *v1.TaskRun) {
			tr.Status.Annotations = map[string]string{seal.Annotation: forged}
		},
		"with a record, too": func(tr *v1.TaskRun) {
			tr.Status.Annotations = map[string]string{seal.Annotation: forged, record.Annotation: "v1.x.y"}
		},
		"of another status": func(tr *v1.TaskRun) {
			setVerdict(tr, "true", "")
			tr.Status.Annotations = map[string]string{seal.Annotation: forged}
		},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, change)
			found := lab.found(t, lab.stored(t))
			found.Verdict = "FAILED"
			lab.webhook = lab.judges(t, "False", "FAILED: results", found)
			if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
				t.Fatal(err)
			}
			told := lab.told(t)
			if len(told) != 2 || !slices.ContainsFunc(told, func(e string) bool {
				return strings.HasPrefix(e, "Warning SignedResultsConditionReplaced: ") &&
					strings.HasSuffix(e, "now SignedResultsVerified=False: FAILED: results")
			}) {
				t.Errorf("events %q", told)
			}
			if got := lab.verified(t); got.Record == nil || got.Record.Verdict != verify.Failed {
				t.Errorf("expected a record that says FAILED, got %+v", got.Record)
			}
		})
	}
}

// A record that the seal does not name is replaced, without another judgement.
func TestRecordsReplacesARecord(t *testing.T) {
	lab := newRecordsLab(t, nil)
	object := untyped(t, lab.stored(t))
	if err := unstructured.SetNestedField(object.Object, "v1.x.y", "status", "annotations",
		record.Annotation); err != nil {
		t.Fatal(err)
	}
	if err := lab.api.Tracker().Update(tektonResource(TaskRuns), object, "ci"); err != nil {
		t.Fatal(err)
	}
	if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Fatal(err)
	}
	if got := lab.verified(t); got.Record == nil || got.Verdict != verify.Verified || len(lab.patches) != 1 {
		t.Errorf("got %+v after %d writes", got.Record, len(lab.patches))
	}
}

// Of a TaskRun that another controller manages, or that runs, only what pretends to be a verdict is touched.
func TestRecordsTakesOutWhatIsNobodys(t *testing.T) {
	by := "other.example/x"
	for name, change := range map[string]func(*v1.TaskRun){
		"managed by somebody else": func(tr *v1.TaskRun) { tr.Spec.ManagedBy = &by },
		"running":                  func(tr *v1.TaskRun) { tr.Status.Conditions[0].Status = "Unknown" },
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, change)
			lab.webhook = func(o *unstructured.Unstructured) {
				status := o.Object["status"].(map[string]any)
				status["conditions"] = status["conditions"].([]any)[:1]
				delete(status, "annotations")
			}
			if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
				t.Fatal(err)
			}
			told := lab.told(t)
			if len(lab.patches) != 1 || len(lab.recorded) != 0 || len(told) != 1 ||
				!strings.Contains(told[0], "now none is due") {
				t.Errorf("writes %q, records %v, events %q", lab.patches, lab.recorded, told)
			}
		})
	}
}

func TestRecordsWithoutTheWebhook(t *testing.T) {
	bare := func(tr *v1.TaskRun) { tr.Status.Conditions = tr.Status.Conditions[:1] }
	lab := newRecordsLab(t, bare)
	if err := lab.Reconcile(t.Context(), "ci/build"); err == nil ||
		!strings.Contains(err.Error(), "the status webhook did not judge") {
		t.Errorf("got %v", err)
	}
	if len(lab.recorded) != 0 || len(lab.caughtUp) != 1 {
		t.Errorf("expected no record, got %v and %v", lab.recorded, lab.caughtUp)
	}
	lab.webhook = lab.judges(t, "", "", seal.Facts{Verdict: "NO_RESULTS"})
	for range 2 {
		if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
			t.Fatal(err)
		}
	}
	if len(lab.recorded) != 0 || len(lab.caughtUp) != 2 || len(lab.patches) != 2 {
		t.Errorf("nothing to verify: got %v and %v after %d writes", lab.recorded, lab.caughtUp, len(lab.patches))
	}
}

func TestRecordsFollowsTheLeader(t *testing.T) {
	lab := newRecordsLab(t, nil)
	lab.Demote(pkgreconciler.UniversalBucket())
	if err := lab.Reconcile(t.Context(), "ci/build"); !controller.IsSkipKey(err) {
		t.Errorf("expected the key to be skipped, got %v", err)
	}
	if len(lab.api.Actions()) != 0 {
		t.Errorf("expected no requests, got %v", lab.api.Actions())
	}
}

// What is put into the queue.
func TestRecordsSeen(t *testing.T) {
	for name, test := range map[string]struct {
		event  watch.EventType
		change func(*v1.TaskRun)
		want   int
	}{
		"judged and not recorded": {want: 1},
		"changed":                 {event: watch.Modified, want: 1},
		"deleted":                 {event: watch.Deleted},
		"not judged": {change: func(tr *v1.TaskRun) { tr.Status.Conditions = tr.Status.Conditions[:1] },
			want: 1},
		"awaited": {change: func(tr *v1.TaskRun) { setVerdict(tr, "Unknown", "") }, want: 1},
		"two verdicts": {change: func(tr *v1.TaskRun) {
			tr.Status.Conditions = append(tr.Status.Conditions,
				tr.Status.Conditions[1])
		}, want: 1},
		"running": {change: func(tr *v1.TaskRun) {
			tr.Status.Conditions[0].Status = "Unknown"
			setVerdict(tr,
				"Unknown", "")
		}},
		"running, with a verdict": {change: func(tr *v1.TaskRun) { tr.Status.Conditions[0].Status = "Unknown" }, want: 1},
		"never ran": {change: func(tr *v1.TaskRun) {
			tr.Status.PodName, tr.Status.Steps, tr.Status.Results, tr.Status.Conditions = "", nil, nil, tr.Status.Conditions[:1]
		}},
		"managed by somebody else": {change: func(tr *v1.TaskRun) { by := "other.example/x"; tr.Spec.ManagedBy = &by },
			want: 1},
		"and nothing of ours": {change: func(tr *v1.TaskRun) {
			by := "other.example/x"
			tr.Spec.ManagedBy, tr.Status.Conditions = &by, tr.Status.Conditions[:1]
		}},
		"managed by Tekton": {change: func(tr *v1.TaskRun) { by := "tekton.dev/pipeline"; tr.Spec.ManagedBy = &by }, want: 1},
		"another namespace": {change: func(tr *v1.TaskRun) { tr.Namespace = "other" }},
		"from before": {change: func(tr *v1.TaskRun) {
			tr.CreationTimestamp = metav1.NewTime(verifytest.Start().Add(-time.Second))
		}},
		"recorded": {change: func(tr *v1.TaskRun) {
			cluster, err := verifytest.NewECCluster()
			if err == nil {
				err = cluster.Record(tr, verifytest.Recording{})
			}
			if err != nil {
				panic(err)
			}
		}},
		"with nonsense for a record": {change: func(
			tr *v1.TaskRun) {
			tr.Status.Annotations = map[string]string{record.Annotation: "x"}
		}, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, test.change)
			object, err := lab.api.Tracker().List(tektonResource(TaskRuns), schema.GroupVersionKind{Group: "tekton.dev",
				Version: "v1", Kind: "TaskRun"}, "")
			if err != nil {
				t.Fatal(err)
			}
			items := object.(*unstructured.UnstructuredList).Items
			if len(items) != 1 {
				t.Fatalf("expected one TaskRun, got %d", len(items))
			}
			event := watch.Added
			if test.event != "" {
				event = test.event
			}
			lab.seen(event, &items[0])
			if got := lab.enqueued(); got != test.want {
				t.Errorf("expected %d keys, got %d", test.want, got)
			}
		})
	}
}

// Nonsense in a status stops nobody.
func TestStateOfNonsense(t *testing.T) {
	lab := newRecordsLab(t, nil)
	for _, status := range []any{
		nil, "x", []any{}, map[string]any{"conditions": "x", "annotations": "x", "podName": 7, "steps": "x"},
		map[string]any{"conditions": []any{"x", nil, map[string]any{"type": 7, "status": map[string]any{}}}},
	} {
		u := &unstructured.Unstructured{Object: map[string]any{"spec": "x", "status": status}}
		if task, _ := lab.todo(t.Context(), u); task != nothing {
			t.Errorf("%v: expected nothing to do, got something", status)
		}
	}
}
