// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"encoding/json"
	"errors"
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

	webhook  func(map[string]any) // what the status webhook does to a status; nil: nobody answers
	patches  []string             // bodies, the record's shortened
	asked    []bool               // pinned, of each judgement
	judgeErr error
	clock    func() time.Time
	due      bool
	recorded []error
	caughtUp []error
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
	lab := &recordsLab{cluster: cluster, events: fake.NewClientset(), clock: verifytest.RecordedAt}
	lab.api = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{tektonResource(TaskRuns): "TaskRunList"}, untyped(t, tr))
	lab.api.PrependReactor("patch", TaskRuns, lab.patch)
	lab.Records = NewRecords(RecordsConfig{
		Client: lab.events, Dynamic: lab.api,
		Ready: func() bool { return true },
		Wanted: func(namespace string, created time.Time) bool {
			return namespace == "ci" && !created.Before(verifytest.Start())
		},
		Judge: lab.judge, Token: lab.token,
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
		return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: TaskRuns}, patch.GetName(), errors.New("another version"))
	}
	l.patches = append(l.patches, body.Metadata.UID+" "+body.Metadata.ResourceVersion)
	status := taskRun.Object["status"].(map[string]any)
	for key, value := range body.Status.Annotations {
		if err := unstructured.SetNestedField(taskRun.Object, value, "status", "annotations", key); err != nil {
			return true, nil, err
		}
	}
	if l.webhook != nil {
		l.webhook(status)
	}
	return true, taskRun, l.api.Tracker().Update(tektonResource(TaskRuns), taskRun, patch.GetNamespace())
}

func (l *recordsLab) judge(ctx context.Context, tr *v1.TaskRun, pinned bool) (Judgement, error) {
	l.asked = append(l.asked, pinned)
	if l.judgeErr != nil {
		return Judgement{}, l.judgeErr
	}
	cluster, err := l.cluster.Trust()
	if err != nil {
		return Judgement{}, err
	}
	v, err := verify.New(cluster, verify.WithClock(l.clock))
	if err != nil {
		return Judgement{}, err
	}
	pod := &verify.PodFacts{Found: true, UID: "3db15e48-971f-4815-84b3-272e52f61a10", ControllerUID: tr.UID}
	result := v.TaskRun(ctx, tr, verify.Facts{Live: true, RequirePod: true, Pinned: pinned, Pod: pod})
	return Judgement{Result: result, Pod: pod, Due: l.due}, nil
}

func (l *recordsLab) token(_ context.Context, digest signing.Digest) (string, error) {
	return l.cluster.RecorderToken(signing.RecordAudience(signing.AudiencePrefix, digest))
}

// enqueued takes what waits out of the queue and returns how much that was. What is on its way into the queue is waited for: one
// more is sent after it.
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
	cluster, err := l.cluster.Trust()
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(cluster, verify.WithClock(verifytest.RecordedAt))
	if err != nil {
		t.Fatal(err)
	}
	return v.TaskRun(t.Context(), l.stored(t), verify.Facts{})
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
	if got.Verdict != verify.Verified || got.Record == nil || got.Record.Verdict != verify.Verified || got.Time.Source != verify.TimeFromRecord {
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

// A replica whose clock is behind cannot verify what is true: no record says so for good.
func TestRecordsWaitsForItsClock(t *testing.T) {
	lab := newRecordsLab(t, nil)
	lab.clock = func() time.Time { return verifytest.Start().Add(-time.Hour) }
	if err := lab.Reconcile(t.Context(), "ci/build"); err == nil || !strings.Contains(err.Error(), "set this clock") {
		t.Errorf("expected an error about the clock, got %v", err)
	}
	if told := lab.told(t); len(lab.patches) != 0 || len(told) != 0 {
		t.Errorf("expected neither a record nor an event, got %q, %q", lab.patches, told)
	}
	lab.clock = verifytest.RecordedAt
	if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Fatal(err)
	}
	if got := lab.verified(t); got.Record == nil || got.Record.Verdict != verify.Verified {
		t.Errorf("expected a record that says VERIFIED, got %+v", got.Record)
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
	if len(told) != 1 || !strings.HasPrefix(told[0], `Warning TaskRunResultsVerificationFailed: FAILED: results: \x1b[2K\r✓ VERIFIED`) || len(told[0]) > 1100 {
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
		"a quota":      {apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", errors.New("exceeded quota")), true},
		"out of reach": {errors.New("connection refused"), false},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, func(tr *v1.TaskRun) { setVerdict(tr, "False", "FAILED: results") })
			lab.events.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, test.err })
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
	lab.webhook = func(status map[string]any) {
		conditions := status["conditions"].([]any)
		if len(conditions) == 1 {
			status["conditions"] = append(conditions, map[string]any{
				"type": "SignedResultsVerified", "status": "True", "message": "VERIFIED: 3 results; verified late, the add-on did not see",
			})
		}
	}
	if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{" ", "6340374f-3a88-4ff2-812e-c155a2d8e142 7"}, lab.patches); diff != "" {
		t.Errorf("patches (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Normal TaskRunResultsVerifiedLate: VERIFIED: 3 results; verified late, the add-on did not see"}, lab.told(t)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]bool{false}, lab.asked); diff != "" {
		t.Errorf("pinned (-want +got): a declaration that nobody watched is not vouched for\n%s", diff)
	}
	if got := lab.verified(t); got.Record == nil || got.Record.Verdict != verify.Verified {
		t.Errorf("expected a record, got %+v", got.Checks)
	}
	if len(lab.caughtUp) != 1 || lab.caughtUp[0] != nil || len(lab.recorded) != 1 {
		t.Errorf("expected one TaskRun counted, got %v and %v", lab.caughtUp, lab.recorded)
	}
}

func TestRecordsVouchesForAPinnedDeclaration(t *testing.T) {
	for message, want := range map[string]bool{"VERIFIED: 3 results": true, "VERIFIED: 3 results; verified late, x": false} {
		lab := newRecordsLab(t, func(tr *v1.TaskRun) { setVerdict(tr, "True", message) })
		if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]bool{want}, lab.asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", message, diff)
		}
	}
}

func TestRecordsWithoutTheWebhook(t *testing.T) {
	bare := func(tr *v1.TaskRun) { tr.Status.Conditions = tr.Status.Conditions[:1] }
	nothing := func(tr *v1.TaskRun) {
		bare(tr)
		tr.Spec.TaskSpec, tr.Status.TaskSpec, tr.Status.Results = nil, nil, nil
		for i := range tr.Status.Steps {
			tr.Status.Steps[i].Terminated.Message = ""
		}
	}
	for name, test := range map[string]struct {
		change func(*v1.TaskRun)
		due    bool
		want   string // in the error
	}{
		"nobody judged":                       {change: bare, want: "the status webhook did not judge"},
		"nothing to judge":                    {change: nothing},
		"nothing, where evidence is enforced": {change: nothing, due: true, want: "the status webhook did not judge"},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, test.change)
			lab.due = test.due
			err := lab.Reconcile(t.Context(), "ci/build")
			if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("expected an error with %q, got %v", test.want, err)
			}
			if len(lab.recorded) != 0 || (len(lab.caughtUp) != 0) != (test.want != "") {
				t.Errorf("expected no record, got %v and %v", lab.recorded, lab.caughtUp)
			}
		})
	}
}

func TestRecordsFailures(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(*recordsLab)
		want   string
	}{
		"verification": {func(l *recordsLab) { l.judgeErr = errors.New("no keys yet") }, "no keys yet"},
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
			l.webhook = func(status map[string]any) { delete(status, "annotations") }
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
	lab.judgeErr = errors.New("no keys yet")
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
		"not judged":              {change: func(tr *v1.TaskRun) { tr.Status.Conditions = tr.Status.Conditions[:1] }, want: 1},
		"awaited":                 {change: func(tr *v1.TaskRun) { setVerdict(tr, "Unknown", "") }, want: 1},
		"two verdicts":            {change: func(tr *v1.TaskRun) { tr.Status.Conditions = append(tr.Status.Conditions, tr.Status.Conditions[1]) }, want: 1},
		"running":                 {change: func(tr *v1.TaskRun) { tr.Status.Conditions[0].Status = "Unknown" }},
		"never ran": {change: func(tr *v1.TaskRun) {
			tr.Status.PodName, tr.Status.Steps, tr.Status.Results = "", nil, nil
		}},
		"managed by somebody else": {change: func(tr *v1.TaskRun) { by := "other.example/x"; tr.Spec.ManagedBy = &by }},
		"managed by Tekton":        {change: func(tr *v1.TaskRun) { by := "tekton.dev/pipeline"; tr.Spec.ManagedBy = &by }, want: 1},
		"another namespace":        {change: func(tr *v1.TaskRun) { tr.Namespace = "other" }},
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
		"with nonsense for a record": {change: func(tr *v1.TaskRun) { tr.Status.Annotations = map[string]string{record.Annotation: "x"} }, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, test.change)
			object, err := lab.api.Tracker().List(tektonResource(TaskRuns), schema.GroupVersionKind{Group: "tekton.dev", Version: "v1", Kind: "TaskRun"}, "")
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
	for _, status := range []any{
		nil, "x", []any{}, map[string]any{"conditions": "x", "annotations": "x", "podName": 7, "steps": "x"},
		map[string]any{"conditions": []any{"x", nil, map[string]any{"type": 7, "status": map[string]any{}}}},
	} {
		u := &unstructured.Unstructured{Object: map[string]any{"spec": "x", "status": status}}
		if stateOf(u).open() {
			t.Errorf("%v: expected nothing to do, got something", status)
		}
	}
}
