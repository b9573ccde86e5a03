// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Trials finds out by a dry run, for each namespace in scope, whether the API server accepts a pod with the signer.
// It records the namespaces in which it does not. Its keys are names of namespaces.
type Trials struct {
	pkgreconciler.LeaderAwareFuncs
	TrialsConfig

	admission []cache.SharedIndexInformer // of everybody's policies and webhooks
	limit     flowcontrol.RateLimiter
	queue     *controller.Impl

	mu      sync.Mutex
	unknown map[string]int // how often in a row a trial had no result
	changed *time.Timer    // until the namespaces are tried again after a change of policies
}

// TrialsConfig is what NewTrials needs.
type TrialsConfig struct {
	Client     kubernetes.Interface
	Metadata   metadata.Interface
	Settings   *Settings
	Namespaces *Namespaces
	// Ready reports whether Choose can be called.
	Ready func() bool
	// Choose returns how a pod gets the signer, by image or init, if nothing prevents it.
	Choose func(settings.Delivery) settings.Delivery
	// Image returns an image that the pods of TaskRuns have in any case.
	Image func(context.Context) (string, error)
	// Inject returns the pod with the signer, delivered in this way.
	Inject   func(*corev1.Pod, settings.Delivery, settings.Settings) (*corev1.Pod, error)
	View     *delivery.View
	Store    *delivery.Store
	Recorder record.EventRecorder
	Log      *zap.SugaredLogger
	Now      func() time.Time
}

// Timing of the trials. An API server gets at most trialsPerSecond dry runs, and half of them on average.
const (
	trialsPerSecond = 10
	trialBurst      = 20
	trialInterval   = 10 * time.Minute // how often a namespace is tried again, because of policies that this cannot see
	trialShare      = 200 * time.Millisecond
	trialTimeout    = 10 * time.Second
	trialRetry      = 5 * time.Second // at first, after a trial without a result
	policiesEffect  = 2 * time.Second // until a changed policy is probably in effect
	policiesSettled = 10 * time.Second
)

// NewTrials returns the reconciler. Start connects it with a work queue.
func NewTrials(c TrialsConfig) *Trials {
	t := &Trials{TrialsConfig: c, unknown: map[string]int{}, limit: flowcontrol.NewTokenBucketRateLimiter(trialsPerSecond,
		trialBurst)}
	for _, resource := range []string{
		"validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
		"mutatingwebhookconfigurations",
	} {
		t.admission = append(t.admission, metadatainformer.NewFilteredMetadataInformer(c.Metadata,
			admissionv1.SchemeGroupVersion.WithResource(resource), metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer())
	}
	t.PromoteFunc = func(b pkgreconciler.Bucket, enqueue func(pkgreconciler.Bucket, types.NamespacedName)) error {
		for _, name := range t.Namespaces.Names() {
			enqueue(b, types.NamespacedName{Name: name})
		}
		return nil
	}
	return t
}

// Start puts namespaces into the work queue, and runs the informers until ctx ends.
func (t *Trials) Start(ctx context.Context, queue *controller.Impl) {
	t.queue = queue
	t.Namespaces.OnChange(func(name string) { queue.EnqueueKey(types.NamespacedName{Name: name}) })
	t.Settings.OnChange(t.all)
	t.View.OnChange(func(table delivery.Table) {
		for _, name := range table.Refused() {
			queue.EnqueueKey(types.NamespacedName{Name: name})
		}
		for _, e := range table.Entries() { // of namespaces that went while no keeper ran
			if t.Namespaces.HasSynced() && !t.Namespaces.Exists(e.Namespace) {
				queue.EnqueueKey(types.NamespacedName{Name: e.Namespace})
			}
		}
	})
	for _, informer := range t.admission {
		mustAdd(informer, cache.ResourceEventHandlerDetailedFuncs{
			AddFunc: func(obj any, inInitialList bool) {
				if !inInitialList {
					t.policyChanged(nil, obj)
				}
			},
			UpdateFunc: t.policyChanged,
			DeleteFunc: func(obj any) { t.policyChanged(nil, obj) },
		})
		go informer.RunWithContext(ctx)
	}
}

// all tries all namespaces again, after those with a change of their own.
func (t *Trials) all() {
	for _, name := range t.Namespaces.Names() {
		t.queue.EnqueueSlowKey(types.NamespacedName{Name: name})
	}
}

// policyChanged tries all namespaces again once a change is in effect. It does not wait longer for further changes.
func (t *Trials) policyChanged(before, after any) {
	if was, ok := before.(metav1.Object); ok {
		if is, ok := after.(metav1.Object); ok && was.GetGeneration() == is.GetGeneration() {
			return // nothing that decides
		}
	}
	if m, ok := after.(metav1.Object); ok && m.GetLabels()[manifests.LabelPartOf] == manifests.PartOf {
		return // our own, which let the signer pass
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed != nil {
		return
	}
	t.changed = time.AfterFunc(policiesEffect, func() {
		t.mu.Lock()
		t.changed = nil
		t.mu.Unlock()
		t.all()
		time.AfterFunc(policiesSettled, t.all) // some API servers see a policy later
	})
}

// Reconcile implements controller.Reconciler.
func (t *Trials) Reconcile(ctx context.Context, key string) error {
	_, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return controller.NewPermanentError(err)
	}
	if !t.IsLeaderFor(types.NamespacedName{Name: name}) {
		return controller.NewSkipKey(key)
	}
	if !t.Settings.HasSynced() || !t.Namespaces.HasSynced() || !t.View.HasSynced() || !t.Ready() {
		return controller.NewRequeueAfter(retryInterval)
	}
	// Before the trial, because a refusal from now on asks for another one.
	if err := t.Store.ClearRequest(ctx, name); err != nil {
		return err
	}
	if !t.Namespaces.Exists(name) {
		t.known(name)
		return t.Store.Forget(ctx, name)
	}
	s := t.Settings.Get()
	if !backends.Injects(s) || !t.Namespaces.InScope(name) {
		t.known(name)
		return t.Store.Clear(ctx, name)
	}
	found, err := t.try(ctx, name, s)
	if err != nil {
		t.Log.Infow("it is not known whether the signer may be delivered", "namespace", name, zap.Error(err))
		return controller.NewRequeueAfter(t.notKnown(name))
	}
	t.known(name)
	if err := t.keep(ctx, name, found); err != nil {
		return err
	}
	return controller.NewRequeueAfter(t.interval())
}

// interval is how long a namespace is not tried again. It grows with the number of namespaces.
func (t *Trials) interval() time.Duration {
	share := time.Duration(len(t.Namespaces.Names())) * trialShare
	return wait.Jitter(max(trialInterval, share), 0.2)
}

// notKnown is how long to wait after a trial without a result.
func (t *Trials) notKnown(name string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(t.unknown[name], 10)
	t.unknown[name] = n + 1
	return wait.Jitter(min(trialRetry<<n, trialInterval), 0.2)
}

func (t *Trials) known(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.unknown, name)
}

// keep stores the outcome, and reports a change. nil means that the signer is delivered as configured.
func (t *Trials) keep(ctx context.Context, name string, found *delivery.Exception) error {
	before, had := t.View.Table().Of(name, delivery.Trial)
	if found == nil {
		if !had {
			return nil
		}
		if err := t.Store.Clear(ctx, name); err != nil {
			return err
		}
		t.report(corev1.EventTypeNormal, "SignerDelivered", "pods of namespace %s take the signer again", name)
		return nil
	}
	err := t.Store.Set(ctx, name, *found)
	if errors.Is(err, delivery.ErrFull) {
		t.report(corev1.EventTypeWarning, "SignerRefused",
			"pods of namespace %s with the signer are refused, and this cannot be kept: %v", name, err)
		return nil // until the next trial
	}
	if err != nil || had && before.Delivery == found.Delivery {
		return err
	}
	if found.Delivery == delivery.None {
		t.report(corev1.EventTypeWarning, "SignerRefused", "pods of namespace %s with the signer are refused: %s", name,
			found.Reason)
		return nil
	}
	t.report(corev1.EventTypeWarning, "SignerDeliveredOtherwise",
		"pods of namespace %s get the signer by %s, because otherwise they are refused: %s",
		name, found.Delivery, found.Reason)
	return nil
}

// report writes a log line, and an event of the keeper's Deployment.
func (t *Trials) report(kind, reason, format string, args ...any) {
	message := display.Cut(display.Safe(fmt.Sprintf(format, args...)), maxEventMessage)
	t.Log.Infow(message, "reason", reason)
	t.Recorder.Event(ownDeployment(manifests.Keeper), kind, reason, message)
}

// try finds out how a namespace can get the signer. nil means as configured. An error means that this is not known.
//
// It tries a pod with the signer first. If that is accepted, it does nothing else. If it is refused, it tries the
// same pod without the signer, which shows whether the signer is the reason.
func (t *Trials) try(ctx context.Context, namespace string, s settings.Settings) (*delivery.Exception, error) {
	image, err := t.Image(ctx)
	if err != nil {
		return nil, err
	}
	return t.tryWith(ctx, inject.Model(namespace, image), s)
}

// tryWith finds out how pods like this one can get the signer. If the pod is refused, it is tried without its small
// resources, because a LimitRange can require more, or set its own.
func (t *Trials) tryWith(ctx context.Context, stock *corev1.Pod, s settings.Settings) (*delivery.Exception, error) {
	wanted := t.Choose(s.Delivery)
	refused, err := t.refused(ctx, stock, wanted, s)
	if refused == "" || err != nil {
		return nil, err
	}
	without, err := t.dryRun(ctx, stock)
	switch {
	case err == nil && without != "" && len(stock.Spec.Containers[0].Resources.Requests) > 0:
		return t.tryWith(ctx, withoutResources(stock), s)
	case err != nil || without != "":
		return nil, fmt.Errorf("a pod without the signer is refused, too: %s", errorOr(err, without))
	}
	// Once more, because the obstacle can have gone in between, for both pods.
	if again, err := t.refused(ctx, stock, wanted, s); again == "" || err != nil {
		return nil, err
	}
	found := &delivery.Exception{Delivery: delivery.None, Reason: refused, Since: t.Now()}
	other := settings.DeliveryInit
	if wanted == settings.DeliveryInit {
		other = settings.DeliveryImage
	}
	if other == settings.DeliveryImage && t.Choose(settings.DeliveryAuto) != settings.DeliveryImage {
		return found, nil // the nodes know no image volumes
	}
	switch otherwise, err := t.refused(ctx, stock, other, s); {
	case err != nil:
		return nil, err
	case otherwise == "":
		found.Delivery = other
	}
	return found, nil
}

func withoutResources(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			containers[i].Resources = corev1.ResourceRequirements{}
		}
	}
	return pod
}

func errorOr(err error, text string) string {
	if err != nil {
		return err.Error()
	}
	return text
}

// refused returns why the API server refuses the pod with the signer, or an empty text.
func (t *Trials) refused(ctx context.Context, stock *corev1.Pod, d settings.Delivery, s settings.Settings) (string,
	error) {
	injected, err := t.Inject(stock, d, s)
	if err != nil {
		return "", fmt.Errorf("preparing a pod with the signer: %w", err)
	}
	return t.dryRun(ctx, injected)
}

// dryRun returns why the API server refuses the pod, or an empty text. An error is not about the pod.
func (t *Trials) dryRun(ctx context.Context, pod *corev1.Pod) (string, error) {
	if err := t.limit.Wait(ctx); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	_, err := t.Client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{
		DryRun: []string{metav1.DryRunAll}, FieldManager: manifests.Keeper,
	})
	if err == nil || refusesPod(err) {
		return reasonOf(err), nil
	}
	return "", fmt.Errorf("trying a pod: %w", err)
}
