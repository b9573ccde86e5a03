// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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
