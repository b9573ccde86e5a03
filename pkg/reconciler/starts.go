// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/owner"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// ReasonNotStarted is the reason of the events about pods that did not start because of the signer.
const ReasonNotStarted = "SignerNotDelivered"

// Starts handles TaskRuns whose pods do not start because of the signer: nodes do not get its image, or do not mount
// a volume that it needs. If results are audited, it writes an exception, so that the inject webhook leaves the pods of
// the namespace, or of this TaskRun, alone. Then it deletes the pod, and Tekton creates another one for the TaskRun.
// While this replica leads, Seen gets every TaskRun. Starts keeps only keys in memory.
type Starts struct {
	pkgreconciler.LeaderAwareFuncs
	StartsConfig

	taskRuns dynamic.NamespaceableResourceInterface
	queue    delayedQueue
	leading  Leading
}

// keyQueue is where a reconciler puts its keys: a controller.Impl.
type keyQueue interface {
	EnqueueKey(key types.NamespacedName)
}

// delayedQueue is a keyQueue that also takes keys for later.
type delayedQueue interface {
	keyQueue
	EnqueueKeyAfter(key types.NamespacedName, delay time.Duration)
}

// StartsConfig is what NewStarts needs.
type StartsConfig struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Image is the signer's image that pods get now. Failures of other images are past.
	Image string
	// Wanted reports whether pods of a namespace get the signer, and Enforced whether TaskRuns there fail without it.
	Wanted, Enforced func(namespace string) bool
	// Stopped reports whether new pods of a TaskRun are left alone already.
	Stopped func(namespace string, taskRun types.UID) bool
	// Stop writes an exception of a source for a namespace.
	Stop func(ctx context.Context, namespace string, source delivery.Source, e delivery.Exception) error
	// Drivers returns the CSI drivers that mount the volumes of the backend into pods. Volumes are those of all
	// backends.
	Drivers func() []string
	Volumes []delivery.NodeVolume
	// Nodes returns the nodes on which pods did not start for want of a volume.
	Nodes func() []string
	// OnStuck is called when a pod does not start because of the signer, with whether its namespace is left alone from
	// now on.
	OnStuck  func(stopped bool)
	Recorder record.EventRecorder
	Now      func() time.Time
	Log      *zap.SugaredLogger
}

// NewStarts returns the reconciler. Start connects it with a work queue.
func NewStarts(c StartsConfig) *Starts {
	return &Starts{StartsConfig: c, taskRuns: c.Dynamic.Resource(tektonResource(TaskRuns))}
}

// Start puts what Seen selects into the work queue, and runs a function while this replica leads, until ctx ends.
func (s *Starts) Start(ctx context.Context, queue delayedQueue, whileLeading func(context.Context)) {
	s.queue = queue
	s.PromoteFunc = func(pkgreconciler.Bucket, func(pkgreconciler.Bucket, types.NamespacedName)) error {
		s.leading.Promote(ctx, whileLeading)
		return nil
	}
	s.DemoteFunc = func(pkgreconciler.Bucket) { s.leading.Demote() }
}

// Seen puts a TaskRun into the work queue if its pod may not start. Tekton does not write that a volume is not
// mounted, so a pod that may wait for one is examined later. A pod may also wait for what the settings of before
// wanted: every TaskRun is seen again from time to time, and then it is examined, too.
func (s *Starts) Seen(taskRun *unstructured.Unstructured) {
	key := keyOf(taskRun)
	wanted := s.Wanted(key.Namespace)
	switch {
	case wanted && s.maySuffer(taskRun):
		s.queue.EnqueueKey(key)
	case !isPending(taskRun):
	case wanted && len(s.Drivers()) > 0:
		s.queue.EnqueueKeyAfter(key, s.patience())
	case s.Now().Sub(taskRun.GetCreationTimestamp().Time) > mountPatience:
		s.queue.EnqueueKey(key)
	}
}

// Tekton's texts about a pod that does not start (v1.15.0, pkg/pod/status.go).
const (
	reasonPullImageFailed = "PullImageFailed"
	reasonPending         = "Pending"
	pendingStep           = "build step " // begins the message about a container that waits for a reason
)

// failedJustNow is how long the failure of a TaskRun is relevant for the pods that start now.
const failedJustNow = time.Minute

// maySuffer reports whether Tekton's condition says that a container cannot start.
func (s *Starts) maySuffer(taskRun *unstructured.Unstructured) bool {
	state := stateOf(taskRun)
	if !state.hasPod || state.foreign {
		return false
	}
	switch c := state.succeeded; corev1.ConditionStatus(c.status) {
	case corev1.ConditionUnknown:
		return c.reason == reasonPullImageFailed || c.reason == reasonPending && strings.HasPrefix(c.message, pendingStep)
	case corev1.ConditionFalse:
		return slices.Contains(failedToStart(), c.reason) && failedLately(taskRun, s.Now())
	}
	return false
}

// isPending reports whether the pod of a TaskRun has not started, as Tekton last wrote.
func isPending(taskRun *unstructured.Unstructured) bool {
	state := stateOf(taskRun)
	c := state.succeeded
	return state.hasPod && !state.foreign && c.status == string(corev1.ConditionUnknown) && c.reason == reasonPending
}

// failedToStart are Tekton's reasons for a TaskRun whose pod never started.
func failedToStart() []string {
	return []string{
		v1.TaskRunReasonImagePullFailed.String(), v1.TaskRunReasonCreateContainerConfigError.String(),
		v1.TaskRunReasonPodCreationFailed.String(),
	}
}

// Reconcile implements controller.Reconciler.
func (s *Starts) Reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return controller.NewPermanentError(err)
	}
	if !s.IsLeaderFor(types.NamespacedName{Namespace: namespace, Name: name}) {
		return controller.NewSkipKey(key)
	}
	taskRun, err := s.taskRuns.Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !s.maySuffer(taskRun) && !isPending(taskRun) {
		return nil
	}
	found, err := s.examine(ctx, taskRun)
	switch {
	case err != nil:
		return err
	case found.again > 0:
		return controller.NewRequeueAfter(found.again)
	case found.why == "":
		return nil
	case found.source == "" || s.isLeftover(namespace, found.source): // new pods do without
		return s.replace(ctx, taskRun, found)
	case !s.Wanted(namespace):
		return nil
	case s.Enforced(namespace):
		return s.report(ctx, taskRun, found, "results are enforced here: no TaskRun starts until this is fixed", false)
	case s.Stopped(namespace, taskRun.GetUID()):
		return s.replace(ctx, taskRun, found)
	}
	return s.stop(ctx, taskRun, found)
}

// isLeftover reports whether a pod waits for a volume although new pods of its namespace do not need it.
func (s *Starts) isLeftover(namespace string, source delivery.Source) bool {
	return source != delivery.Start && !s.Wanted(namespace)
}

// stuckPod is a pod that does not start because of the signer.
type stuckPod struct {
	why    string          // empty: it starts, or the reason is a different one
	next   string          // what the user can do
	source delivery.Source // of the exception; empty: none is needed
	node   string          // that does not mount a volume; of sources Mount and Once
	uid    types.UID       // empty: Tekton has deleted it
	seen   string          // the version of the pod that was examined
	again  time.Duration   // until it must be examined again, before anything is done; 0: it need not
}

// secondAttempt is how long after scheduling the kubelet has tried twice: it tries again after ten seconds. One
// failure can come from a node that has just joined, or from a registry with a rate limit.
const secondAttempt = 20 * time.Second

// examine returns why the pod of a TaskRun does not start, if the signer is the reason. If Tekton has deleted the
// pod, its message has the kubelet's words.
func (s *Starts) examine(ctx context.Context, taskRun *unstructured.Unstructured) (stuckPod, error) {
	state := stateOf(taskRun)
	pod, err := s.Client.CoreV1().Pods(taskRun.GetNamespace()).Get(ctx, podNameOf(taskRun), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		if c := state.succeeded; strings.Contains(c.message, s.Image) {
			return s.withoutImage(c.reason + ": " + c.message), nil
		}
		return stuckPod{}, nil
	case err != nil:
		return stuckPod{}, fmt.Errorf("reading the TaskRun's pod: %w", err)
	}
	if ref := owner.Controller(pod, owner.TaskRun); ref == nil || ref.UID != taskRun.GetUID() {
		return stuckPod{}, nil // the author of the status can name any pod
	}
	if image, why := delivery.Stuck(pod); image == s.Image && why != "" {
		found := s.withoutImage(why)
		found.uid, found.seen = pod.UID, pod.ResourceVersion
		if !state.complete() {
			found.again = secondAttempt - s.Now().Sub(scheduledAt(pod))
		}
		return found, nil
	}
	return s.awaitsVolume(ctx, pod)
}

// withoutImage describes a pod that cannot start with the signer's image.
func (s *Starts) withoutImage(why string) stuckPod {
	return stuckPod{why: why, source: delivery.Start, next: fmt.Sprintf("let nodes pull %s (enable --pull-secret or "+
		"--registry), and run kubectl tekton-sign enable again", s.Image)}
}

// scheduledAt returns when the pod got its node, or when it was created if that is not known. A pod can wait for a
// node for minutes.
func scheduledAt(pod *corev1.Pod) time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return pod.CreationTimestamp.Time
}

func podNameOf(taskRun *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(taskRun.Object, "status", "podName")
	return name
}

// seenEverywhere is how long it takes until every replica of the webhooks knows of an exception.
const seenEverywhere = time.Second

// stop leaves the pods of a namespace, or of a TaskRun, alone from now on, and returns to this one.
func (s *Starts) stop(ctx context.Context, taskRun *unstructured.Unstructured, found stuckPod) error {
	e := delivery.Exception{Delivery: delivery.None, Reason: found.why, Since: s.Now(), Node: found.node}
	outcome := "TaskRuns of this namespace run unsigned from now on"
	if found.source == delivery.Once {
		e.TaskRun, outcome = taskRun.GetUID(), "this TaskRun runs unsigned"
	}
	err := s.Stop(ctx, taskRun.GetNamespace(), found.source, e)
	switch {
	case errors.Is(err, delivery.ErrFull) && found.source == delivery.Once: // others end within minutes
		s.Log.Warnw("the pod of a TaskRun waits for longer", "namespace", taskRun.GetNamespace(), "taskRun",
			taskRun.GetName(), zap.Error(err))
		return controller.NewRequeueAfter(mountRecheck)
	case errors.Is(err, delivery.ErrFull):
		return s.report(ctx, taskRun, found, "TaskRuns here go on hanging: "+err.Error(), false)
	case err != nil:
		return err
	}
	if err := s.report(ctx, taskRun, found, outcome, true); err != nil {
		return err
	}
	return controller.NewRequeueAfter(seenEverywhere)
}

// replace deletes a pod without a started step, where new pods are left alone. Tekton creates another one without the
// signer. If the pod has changed since it was examined, it is examined again: a step may have started. If Tekton has
// failed the TaskRun already, nothing helps.
func (s *Starts) replace(ctx context.Context, taskRun *unstructured.Unstructured, found stuckPod) error {
	if found.uid == "" || stateOf(taskRun).complete() {
		return nil
	}
	now := int64(0)
	err := s.Client.CoreV1().Pods(taskRun.GetNamespace()).Delete(ctx, podNameOf(taskRun), metav1.DeleteOptions{
		GracePeriodSeconds: &now,
		Preconditions:      &metav1.Preconditions{UID: &found.uid, ResourceVersion: &found.seen},
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return controller.NewRequeueAfter(seenEverywhere)
	case err != nil:
		return fmt.Errorf("deleting a pod that does not start: %w", err)
	}
	s.Log.Infow("a pod that did not start because of the signer was deleted: Tekton makes another one without it",
		"namespace", taskRun.GetNamespace(), "taskRun", taskRun.GetName())
	return nil
}

// report makes events about the TaskRun and the add-on: what is wrong, what follows, and how to fix it.
func (s *Starts) report(ctx context.Context, taskRun *unstructured.Unstructured, found stuckPod, outcome string,
	stopped bool) error {
	namespace := taskRun.GetNamespace()
	message := display.Safe(fmt.Sprintf("the pod does not start because of the signer (%s); %s. Next: %s",
		display.Cut(found.why, maxEventMessage/2), outcome, found.next))
	s.Log.Errorw("a pod does not start because of the signer", "namespace", namespace, "taskRun", taskRun.GetName(),
		"reason", found.why, "outcome", outcome)
	s.Recorder.Event(ownDeployment(manifests.Controller), corev1.EventTypeWarning, ReasonNotStarted,
		display.Cut("namespace "+namespace+": "+message, maxEventMessage))
	s.OnStuck(stopped)
	return events{s.Client, s.Now, s.Log}.report(ctx, taskRun, corev1.EventTypeWarning, ReasonNotStarted, message)
}
