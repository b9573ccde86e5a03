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
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// recordRetries bounds the attempts at one TaskRun, about two minutes, until everything is looked at again.
const recordRetries = 14

// Records makes sure that every completed TaskRun is verified and recorded. If nothing proves that a verdict is the
// add-on's, it calls the status webhook. It writes the add-on's record (docs/record.md) of what is sealed. In memory it
// keeps only the keys of TaskRuns that wait.
type Records struct {
	pkgreconciler.LeaderAwareFuncs
	RecordsConfig

	taskRuns dynamic.NamespaceableResourceInterface
	hopeless *hopeless
	leading  Leading
	queue    *controller.Impl
}

// RecordsConfig is what NewRecords needs.
type RecordsConfig struct {
	Proof

	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Ready reports whether Wanted can answer.
	Ready func() bool
	// Wanted reports whether TaskRuns that were created in a namespace at that time are verified.
	Wanted func(namespace string, created time.Time) bool
	// Cluster returns the UID of the cluster, for records of TaskRuns that were judged without any key.
	Cluster func(context.Context) (string, error)
	// Token returns a token of the add-on that vouches for the record with this digest.
	Token func(context.Context, signing.Digest) (string, error)
	// OnCatchUp is called for every TaskRun that completed without a verdict, and OnRecord for every record.
	OnCatchUp, OnRecord func(error)
	// OnVerdict is called once for each TaskRun, when its verdict is recorded or its record is given up. In the second
	// case, OnGivenUp is called, too.
	OnVerdict func(verify.Result)
	OnGivenUp func()
	// OnSeen is shown every TaskRun, again after each change.
	OnSeen func(*unstructured.Unstructured)
	// OnGone is shown a TaskRun that was deleted.
	OnGone func(*unstructured.Unstructured)
	// OnRefused is shown a TaskRun that has just failed because its pod was not created.
	OnRefused func(*unstructured.Unstructured)
	Version   string
	Now       func() time.Time
	Log       *zap.SugaredLogger
}

// NewRecords returns the reconciler. Start connects it with a work queue.
func NewRecords(c RecordsConfig) *Records {
	return &Records{RecordsConfig: c, taskRuns: c.Dynamic.Resource(tektonResource(TaskRuns)), hopeless: newHopeless()}
}

func (r *Records) events() events { return events{r.Client, r.Now, r.Log} }

// Start puts TaskRuns into the work queue while this replica leads, until ctx ends.
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

// seen puts a TaskRun into the work queue if it needs work.
func (r *Records) seen(event watch.EventType, taskRun *unstructured.Unstructured) {
	if event == watch.Deleted {
		r.OnGone(taskRun)
		return
	}
	r.OnSeen(taskRun)
	if !r.Wanted(taskRun.GetNamespace(), taskRun.GetCreationTimestamp().Time) {
		return
	}
	if event == watch.Modified && stateOf(taskRun).podRefused() { // those of a listing may be from long ago
		r.OnRefused(taskRun)
	}
	if task, _ := r.todo(context.Background(), taskRun); task != nothing {
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
	if !r.Wanted(id.Namespace, taskRun.GetCreationTimestamp().Time) {
		return nil
	}
	task, found := r.todo(ctx, taskRun)
	if task == ask {
		if taskRun, err = r.catchUp(ctx, taskRun); err != nil {
			return r.unless(ctx, taskRun, err)
		}
		task, found = r.todo(ctx, taskRun)
	}
	if task != write {
		return nil
	}
	result, err := r.record(ctx, taskRun, found)
	if err == nil {
		r.OnVerdict(counted(result, stateOf(taskRun)))
	}
	if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		r.OnRecord(err)
	}
	return r.unless(ctx, taskRun, err)
}

// catchUp has the status webhook look at a TaskRun, by a write that changes nothing. It returns the TaskRun as it
// is then; with an error, as it was.
func (r *Records) catchUp(ctx context.Context, taskRun *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	patched, err := r.taskRuns.Namespace(taskRun.GetNamespace()).Patch(ctx, taskRun.GetName(), types.MergePatchType,
		[]byte(`{}`),
		metav1.PatchOptions{FieldManager: manifests.Controller}, "status")
	if err != nil {
		r.OnCatchUp(err)
		return taskRun, fmt.Errorf("having the TaskRun judged: %w", err)
	}
	before, after := stateOf(taskRun), stateOf(patched)
	if task, _ := r.todo(ctx, patched); task == ask {
		err := errors.New("the status webhook did not judge the TaskRun: see whether its pods are ready, " +
			"their clocks right, and the issuer's keys known to them")
		r.OnCatchUp(err)
		return taskRun, err
	}
	if before.complete() && !before.foreign {
		r.OnCatchUp(nil)
	}
	switch {
	case before.claims():
		err = r.events().report(ctx, patched, corev1.EventTypeWarning, ReasonNotOurs, before.replacedBy(after))
	case after.judged():
		err = r.events().report(ctx, patched, corev1.EventTypeNormal, ReasonVerifiedLate, after.ours.message)
	}
	return patched, err
}

// record writes the record of what is sealed, and returns it.
func (r *Records) record(ctx context.Context, taskRun *unstructured.Unstructured, found seal.Facts) (verify.Result,
	error) {
	result := found.Result()
	tr, err := typed(taskRun)
	if err != nil {
		return result, errHopeless{err}
	}
	if result.Cluster == nil {
		uid, err := r.Cluster(ctx)
		if err != nil {
			return result, fmt.Errorf("naming the cluster: %w", err)
		}
		result.Cluster = &verify.ClusterRef{UID: uid}
	}
	if !found.Good() {
		message := stateOf(taskRun).failure(result)
		if err := r.events().report(ctx, taskRun, corev1.EventTypeWarning, verify.ReasonVerificationFailed,
			message); err != nil {
			return result, err
		}
	}
	made, err := verify.NewRecord(tr, result, verify.Recording{
		At: found.At, Version: r.Version, PodUID: found.Pod(tr.UID), Attempts: r.receipted(taskRun, verify.Attempts(tr)),
	})
	if err != nil {
		return result, errHopeless{fmt.Errorf("making the record: %w", err)}
	}
	return result, r.write(ctx, taskRun, made, found)
}

// write proves the record and puts it into the status that was verified, and into no other.
func (r *Records) write(ctx context.Context, taskRun *unstructured.Unstructured, made record.Record,
	found seal.Facts) error {
	statement, err := made.Statement()
	if err != nil {
		return errHopeless{fmt.Errorf("making the record: %w", err)}
	}
	token, err := r.Token(ctx, record.DigestOf(statement))
	if err != nil {
		return fmt.Errorf("asking for the record's proof: %w", err)
	}
	value, err := record.Encode(statement, token)
	if err != nil {
		return errHopeless{err}
	}
	of, err := seal.SubjectOf(taskRun)
	if err != nil {
		return err
	}
	found.Record = seal.RecordDigest(value)
	sealed, err := seal.Make(r.SealKey(), of, found)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": taskRun.GetUID(), "resourceVersion": taskRun.GetResourceVersion()},
		"status":   map[string]any{"annotations": map[string]any{record.Annotation: value, seal.Annotation: sealed}},
	})
	if err != nil {
		return controller.NewPermanentError(err)
	}
	stored, err := r.taskRuns.Namespace(taskRun.GetNamespace()).Patch(ctx, taskRun.GetName(), types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: manifests.Controller}, "status")
	if err != nil {
		return fmt.Errorf("writing the record: %w", err)
	}
	if s := stateOf(stored); s.record != value || s.seal != sealed {
		return errors.New("the record was not stored as it was written: somebody else's webhook changes the status of " +
			"TaskRuns")
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
