// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// recordRetries bounds the attempts at one TaskRun, about two minutes, until everything is looked at again.
const recordRetries = 14

// Records has every completed TaskRun judged and recorded: it calls the status webhook for those that were completed while
// nobody judged them, and writes the add-on's record (docs/format.md) of those that have a verdict. It keeps nothing in memory
// but the keys of TaskRuns that wait for it.
type Records struct {
	pkgreconciler.LeaderAwareFuncs
	RecordsConfig

	taskRuns dynamic.NamespaceableResourceInterface
	leading  Leading
	queue    *controller.Impl
}

// RecordsConfig is what NewRecords needs.
type RecordsConfig struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Ready reports whether Wanted can be asked.
	Ready func() bool
	// Wanted reports whether TaskRuns of a namespace that were created then are judged.
	Wanted func(namespace string, created time.Time) bool
	// Judge verifies a TaskRun that the API server handed out.
	Judge Judge
	// Token returns a token of the add-on that vouches for the record with this digest.
	Token func(context.Context, signing.Digest) (string, error)
	// OnCatchUp and OnRecord are told of every TaskRun that was completed without a verdict, and of every record.
	OnCatchUp, OnRecord func(error)
	Version             string
	Now                 func() time.Time
	Log                 *zap.SugaredLogger
}

// Judge verifies a TaskRun as the status webhook does. pinned says that the webhook kept its declaration.
type Judge func(ctx context.Context, tr *v1.TaskRun, pinned bool) (Judgement, error)

// Judgement is what verification found, and what was seen of the pod.
type Judgement struct {
	Result verify.Result
	Pod    *verify.PodFacts
	// Due says that a verdict is due even where there is nothing to verify.
	Due bool
}

// NewRecords returns the reconciler. Start connects it with a work queue.
func NewRecords(c RecordsConfig) *Records {
	return &Records{RecordsConfig: c, taskRuns: c.Dynamic.Resource(tektonResource(TaskRuns))}
}

// Start has TaskRuns put into the work queue while this replica leads, until ctx ends.
func (r *Records) Start(ctx context.Context, queue *controller.Impl) {
	r.queue = queue
	feed := NewFeed(DynamicSource(r.taskRuns), r.seen, r.Log)
	r.PromoteFunc = func(pkgreconciler.Bucket, func(pkgreconciler.Bucket, types.NamespacedName)) error {
		r.leading.Promote(ctx, func(ctx context.Context) {
			if cache.WaitForCacheSync(ctx.Done(), cache.InformerSynced(r.Ready)) {
				feed.Run(ctx)
			}
		})
		return nil
	}
	r.DemoteFunc = func(pkgreconciler.Bucket) { r.leading.Demote() }
}

// seen puts a TaskRun into the work queue if there is something to do.
func (r *Records) seen(event watch.EventType, taskRun *unstructured.Unstructured) {
	if event == watch.Deleted || !r.Wanted(taskRun.GetNamespace(), taskRun.GetCreationTimestamp().Time) {
		return
	}
	if stateOf(taskRun).open() {
		r.queue.EnqueueKey(types.NamespacedName{Namespace: taskRun.GetNamespace(), Name: taskRun.GetName()})
	}
}

// Reconcile implements controller.Reconciler.
func (r *Records) Reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return controller.NewPermanentError(err)
	}
	id := types.NamespacedName{Namespace: namespace, Name: name}
	if !r.IsLeaderFor(id) {
		return controller.NewSkipKey(key)
	}
	err = r.reconcile(ctx, id)
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	if r.queue.WorkQueue().NumRequeues(id) >= recordRetries {
		r.Log.Errorw("this TaskRun was not recorded", "namespace", namespace, "taskRun", name, zap.Error(err))
		return nil // until everything is looked at again
	}
	r.Log.Infow("recording a TaskRun has to wait", "namespace", namespace, "taskRun", name, zap.Error(err))
	return err
}

func (r *Records) reconcile(ctx context.Context, id types.NamespacedName) error {
	taskRun, err := r.taskRuns.Namespace(id.Namespace).Get(ctx, id.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !r.Wanted(id.Namespace, taskRun.GetCreationTimestamp().Time) || !stateOf(taskRun).open() {
		return nil
	}
	if late := !stateOf(taskRun).judged(); late {
		if taskRun, err = r.catchUp(ctx, taskRun); taskRun == nil || err != nil {
			return err
		}
	}
	err = r.record(ctx, taskRun)
	if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		r.OnRecord(err)
	}
	return err
}

// catchUp has the status webhook judge a completed TaskRun, by a write that changes nothing. It returns the TaskRun with its
// verdict, nil if none is due.
func (r *Records) catchUp(ctx context.Context, taskRun *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	patched, err := r.taskRuns.Namespace(taskRun.GetNamespace()).Patch(ctx, taskRun.GetName(), types.MergePatchType, []byte(`{}`),
		metav1.PatchOptions{FieldManager: manifests.Controller}, "status")
	if err != nil {
		r.OnCatchUp(err)
		return nil, fmt.Errorf("having the TaskRun judged: %w", err)
	}
	state := stateOf(patched)
	if !state.complete() {
		return nil, nil // enforcement runs it again
	}
	if !state.judged() {
		tr, err := typed(patched)
		if err != nil {
			return nil, controller.NewPermanentError(err)
		}
		judgement, err := r.Judge(ctx, tr, false)
		if err == nil && judgement.Result.Verdict == verify.NoResults && !judgement.Due {
			return nil, nil
		}
		err = errors.New("the status webhook did not judge the TaskRun: see whether its pods are ready, their clocks right, and the issuer's keys known to them")
		r.OnCatchUp(err)
		return nil, err
	}
	r.OnCatchUp(nil)
	return patched, r.tell(ctx, patched, corev1.EventTypeNormal, ReasonVerifiedLate, state.ours.message)
}

// record verifies a TaskRun that has a verdict once more, by itself, and writes the record of that.
func (r *Records) record(ctx context.Context, taskRun *unstructured.Unstructured) error {
	tr, err := typed(taskRun)
	if err != nil {
		return controller.NewPermanentError(err)
	}
	state := stateOf(taskRun)
	judgement, err := r.Judge(ctx, tr, state.pinned())
	if err != nil {
		return fmt.Errorf("verifying the TaskRun: %w", err)
	}
	if judgement.Result.Premature() {
		return fmt.Errorf("verifying the TaskRun: %s", judgement.Result.Message) // it would stay recorded as INDETERMINATE
	}
	result := agreed(judgement.Result, state.ours)
	if bad(result.Verdict) {
		if err := r.tell(ctx, taskRun, corev1.EventTypeWarning, verify.ReasonVerificationFailed, state.failure(result)); err != nil {
			return err
		}
	}
	more := verify.Recording{At: r.Now(), Version: r.Version}
	if pod := judgement.Pod; pod != nil && pod.Found && pod.ControllerUID == tr.UID {
		more.PodUID = pod.UID
	}
	made, err := verify.NewRecord(tr, result, more)
	if err != nil {
		return controller.NewPermanentError(fmt.Errorf("making the record: %w", err))
	}
	return r.write(ctx, taskRun, made)
}

// write proves the record and puts it into the status that was verified, and into no other.
func (r *Records) write(ctx context.Context, taskRun *unstructured.Unstructured, made record.Record) error {
	statement, err := made.Statement()
	if err != nil {
		return controller.NewPermanentError(fmt.Errorf("making the record: %w", err))
	}
	token, err := r.Token(ctx, record.DigestOf(statement))
	if err != nil {
		return fmt.Errorf("asking for the record's proof: %w", err)
	}
	value, err := record.Encode(statement, token)
	if err != nil {
		return controller.NewPermanentError(err)
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": taskRun.GetUID(), "resourceVersion": taskRun.GetResourceVersion()},
		"status":   map[string]any{"annotations": map[string]any{record.Annotation: value}},
	})
	if err != nil {
		return controller.NewPermanentError(err)
	}
	stored, err := r.taskRuns.Namespace(taskRun.GetNamespace()).Patch(ctx, taskRun.GetName(), types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: manifests.Controller}, "status")
	if err != nil {
		return fmt.Errorf("writing the record: %w", err)
	}
	if stateOf(stored).record != value {
		return errors.New("the record was not stored as it was written: somebody else's webhook changes the status of TaskRuns")
	}
	return nil
}

// typed returns the TaskRun without a record, which is what is judged and recorded.
func typed(taskRun *unstructured.Unstructured) (*v1.TaskRun, error) {
	raw, err := taskRun.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("reading the TaskRun: %w", err)
	}
	tr := &v1.TaskRun{}
	if err := strictjson.DecodeOpen(raw, tr); err != nil {
		return nil, fmt.Errorf("reading the TaskRun: %w", err)
	}
	delete(tr.Status.Annotations, record.Annotation)
	return tr, nil
}

// agreed is the result that is recorded. A condition of ours that is not True stands for something that verification of the
// status alone cannot see, such as results that enforcement took out, or a change by somebody else.
func agreed(r verify.Result, ours condition) verify.Result {
	if ours.status == string(corev1.ConditionTrue) || r.Verdict != verify.Verified {
		return r
	}
	r.Verdict, r.Reason, r.Message = verify.Failed, string(verify.CheckCondition), ours.message
	r.Assurance = ""
	r.Checks = append([]verify.Check{{
		ID: verify.CheckCondition, Status: verify.Fail, Expected: "condition " + string(verify.ConditionType) + "=True",
		Got: ours.status, Message: ours.message,
	}}, r.Checks...)
	return r
}

func bad(v verify.Verdict) bool { return v != verify.Verified && v != verify.NoResults }

// pinned reports whether the status webhook has kept the declaration since before the TaskRun completed.
func (s taskRunState) pinned() bool {
	return s.ours.status == string(corev1.ConditionTrue) && !admission.SaysLate(s.ours.message)
}
