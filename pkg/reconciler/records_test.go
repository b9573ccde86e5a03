// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/util/workqueue"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// recordsLab is a reconciler of records over an API server that is only a map, with a status webhook.
type recordsLab struct {
	*Records
	api     *dynamicfake.FakeDynamicClient
	events  *fake.Clientset
	cluster *verifytest.Cluster

	webhook  func(*unstructured.Unstructured) // what the status webhook does to a TaskRun; nil: nobody answers
	refusal  error                            // of the API server, to a write
	patches  []string                         // UID and version that are asked for
	recorded []error
	caughtUp []error
	verdicts []string
	givenUp  int
	refused  []string
}

// newRecordsLab returns a lab with one TaskRun.
func newRecordsLab(t *testing.T, change func(*v1.TaskRun)) *recordsLab {
	t.Helper()
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	run := verifytest.NewRun()
	tr, err := run.TaskRun(cluster)
	if err != nil {
		t.Fatal(err)
	}
	verifytest.DropCarriers(tr)
	tr.ResourceVersion = "7"
	setVerdict(tr, "True", "VERIFIED: 3 results")
	if change != nil {
		change(tr)
	}
	lab := &recordsLab{cluster: cluster, events: fake.NewClientset()}
	object := untyped(t, tr)
	if state := stateOf(object); state.judged() && state.seal == "" {
		found := lab.found(t, tr)
		if _, err := record.Decode(state.record); err == nil {
			found.Record = seal.RecordDigest(state.record)
		}
		lab.seal(t, object, found)
	}
	lab.api = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{tektonResource(TaskRuns): "TaskRunList"}, object)
	lab.api.PrependReactor("patch", TaskRuns, lab.patch)
	lab.Records = NewRecords(RecordsConfig{
		OnGone:    func(*unstructured.Unstructured) {},
		OnRefused: func(tr *unstructured.Unstructured) { lab.refused = append(lab.refused, tr.GetNamespace()) },
		Client:    lab.events, Dynamic: lab.api,
		Ready: func() bool { return true },
		Wanted: func(namespace string, created time.Time) bool {
			return namespace == "ci" && !created.Before(verifytest.Start())
		},
		Token: lab.token,
		Proof: Proof{SealKey: testKey, Recorded: func(_ context.Context, tr *v1.TaskRun) (verify.Verdict, bool) {
			return lab.verifier(t).Recorded(tr)
		}},
		Cluster:   func(context.Context) (string, error) { return "", errors.New("no cluster") },
		OnVerdict: func(r verify.Result) { lab.verdicts = append(lab.verdicts, string(r.Verdict)+" "+r.Reason) },
		OnGivenUp: func() { lab.givenUp++ },
		OnSeen:    func(*unstructured.Unstructured) {},
		OnCatchUp: func(err error) { lab.caughtUp = append(lab.caughtUp, err) },
		OnRecord:  func(err error) { lab.recorded = append(lab.recorded, err) },
		Version:   "v0.4.0", Now: verifytest.RecordedAt, Log: zap.NewNop().Sugar(),
	})
	lab.queue = controller.NewContext(t.Context(), lab.Records, controller.ControllerOptions{
		WorkQueueName: t.Name(), Logger: zap.NewNop().Sugar(),
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[any](time.Hour, time.Hour),
	})
	if err := lab.Promote(pkgreconciler.UniversalBucket(), nil); err != nil {
		t.Fatal(err)
	}
	return lab
}

func untyped(t *testing.T, tr *v1.TaskRun) *unstructured.Unstructured {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(tr)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: object}
}

func setVerdict(tr *v1.TaskRun, status corev1.ConditionStatus, message string) {
	for _, c := range tr.Status.Conditions {
		if c.Type == verify.ConditionType {
			tr.Status.Conditions = tr.Status.Conditions[:len(tr.Status.Conditions)-1]
		}
	}
	c := tr.Status.Conditions[0]
	c.Type, c.Status, c.Message = verify.ConditionType, status, message
	tr.Status.Conditions = append(tr.Status.Conditions, c)
}

// patch is the API server's answer to a merge patch of a status, with the webhook in between.
func (l *recordsLab) patch(action clienttesting.Action) (bool, runtime.Object, error) {
	patch := action.(clienttesting.PatchAction)
	if patch.GetSubresource() != "status" || patch.GetPatchType() != types.MergePatchType {
		return true, nil, errors.New("not a merge patch of the status")
	}
	object, err := l.api.Tracker().Get(tektonResource(TaskRuns), patch.GetNamespace(), patch.GetName())
	if err != nil {
		return true, nil, err
	}
	taskRun := object.(*unstructured.Unstructured).DeepCopy()
	var body struct {
		Metadata struct{ UID, ResourceVersion string }
		Status   struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(patch.GetPatch(), &body); err != nil {
		return true, nil, err
	}
	if v := body.Metadata.ResourceVersion; v != "" && v != taskRun.GetResourceVersion() {
		return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: TaskRuns}, patch.GetName(),
			errors.New("another version"))
	}
	l.patches = append(l.patches, body.Metadata.UID+" "+body.Metadata.ResourceVersion)
	if l.refusal != nil {
		return true, nil, l.refusal
	}
	for key, value := range body.Status.Annotations {
		if err := unstructured.SetNestedField(taskRun.Object, value, "status", "annotations", key); err != nil {
			return true, nil, err
		}
	}
	if l.webhook != nil {
		l.webhook(taskRun)
	}
	return true, taskRun, l.api.Tracker().Update(tektonResource(TaskRuns), taskRun, patch.GetNamespace())
}

func testKey() seal.Key {
	key, err := seal.ParseKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		panic(err)
	}
	return key
}

func (l *recordsLab) verifier(t *testing.T) *verify.Verifier {
	t.Helper()
	cluster, err := l.cluster.Trust()
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(cluster, verify.WithClock(verifytest.RecordedAt))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// found is what the webhook saw in the write that completed the TaskRun.
func (l *recordsLab) found(t *testing.T, tr *v1.TaskRun) seal.Facts {
	t.Helper()
	facts := verify.Facts{Live: true, RequirePod: true, Pinned: true, Pod: &verify.PodFacts{Found: true, UID: podUID,
		ControllerUID: tr.UID}}
	result := l.verifier(t).TaskRun(t.Context(), tr, facts)
	if tr.Status.GetCondition(verify.ConditionType).IsFalse() && result.Verdict == verify.Verified {
		result.Verdict, result.Reason = verify.Failed, "condition"
	}
	return seal.FactsOf(result, facts, verifytest.RecordedAt())
}

// podUID is the pod that the evidence names.
const podUID = "3db15e48-971f-4815-84b3-272e52f61a10"

// seal puts a seal over the TaskRun as it is.
func (l *recordsLab) seal(t *testing.T, object *unstructured.Unstructured, found seal.Facts) {
	t.Helper()
	of, err := seal.SubjectOf(object)
	if err != nil {
		t.Fatal(err)
	}
	text, err := seal.Make(testKey(), of, found)
	if err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedField(object.Object, text, "status", "annotations", seal.Annotation); err != nil {
		t.Fatal(err)
	}
}

// judges is a status webhook that sets the condition, none if status is empty, and seals what it found.
func (l *recordsLab) judges(t *testing.T, status, message string, found seal.Facts) func(*unstructured.Unstructured) {
	return func(object *unstructured.Unstructured) {
		if state := stateOf(object); state.record != "" && state.judged() && state.ours.message == message {
			return // it carries what is there
		}
		fields := object.Object["status"].(map[string]any)
		kept := []any{}
		for _, c := range fields["conditions"].([]any) {
			if c.(map[string]any)["type"] != "SignedResultsVerified" {
				kept = append(kept, c)
			}
		}
		if status != "" {
			kept = append(kept, map[string]any{"type": "SignedResultsVerified", "status": status, "message": message})
		}
		fields["conditions"] = kept
		delete(fields, "annotations")
		l.seal(t, object, found)
	}
}

func (l *recordsLab) token(_ context.Context, digest signing.Digest) (string, error) {
	return l.cluster.RecorderToken(signing.RecordAudience(signing.AudiencePrefix, digest))
}

// enqueued takes what waits out of the queue and returns how much that was. What is on its way into the queue is
// waited for: one more is sent after it.
func (l *recordsLab) enqueued() int {
	last := types.NamespacedName{Name: "the-last"}
	l.queue.EnqueueKey(last)
	for n := 0; ; n++ {
		if key, ended := l.queue.WorkQueue().Get(); ended || key == last {
			return n
		}
	}
}

// stored returns the TaskRun as it is now.
func (l *recordsLab) stored(t *testing.T) *v1.TaskRun {
	t.Helper()
	object, err := l.api.Tracker().Get(tektonResource(TaskRuns), "ci", "build")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := object.(*unstructured.Unstructured).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	tr := &v1.TaskRun{}
	if err := json.Unmarshal(raw, tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

// verified is what a verifier with the cluster's bundle says of the TaskRun as it is now.
func (l *recordsLab) verified(t *testing.T) verify.Result {
	t.Helper()
	return l.verifier(t).TaskRun(t.Context(), l.stored(t), verify.Facts{})
}

// told lists the events.
func (l *recordsLab) told(t *testing.T) []string {
	t.Helper()
	list, err := l.events.CoreV1().Events("ci").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range list.Items {
		if e.InvolvedObject.Kind != "TaskRun" || e.InvolvedObject.Name != "build" || e.InvolvedObject.UID == "" {
			t.Errorf("expected an event of the TaskRun, got %+v", e.InvolvedObject)
		}
		told = append(told, e.Type+" "+e.Reason+": "+e.Message)
	}
	return told
}

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
