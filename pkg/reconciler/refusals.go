// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// Reasons of the events about refusals.
const (
	ReasonRefused      = "SignerRefused"        // pods get no signer from now on
	ReasonRefusedAlso  = "PodRefusedAnyway"     // nor did that help
	ReasonRefusalEnded = "SignerDeliveredAgain" // pods get the signer again
)

// Timing of refusals.
const (
	// refusalInterval is the least time between two trials that a namespace asks for: TaskRuns can be refused for other
	// reasons, one after the other.
	refusalInterval = 30 * time.Second
	// A trial is answered, if at all, once the keeper has taken the mark and has had time for its dry runs. If the keeper
	// is away, the wait is a little longer.
	trialAnswered = 5 * time.Second
	trialAwaited  = 15 * time.Second
	// refusalHolds is how long the pods of a namespace are left alone if nobody steps in. If that does not help, it is
	// also how long they are not left alone again.
	refusalHolds = 24 * time.Hour
	// leftAloneSince is the age of an exception at which every replica knows it, whatever its clock: from then on, no pod
	// of a new TaskRun gets the signer.
	leftAloneSince = 10 * time.Second
	// maxBlameless bounds the memory of namespaces in which the signer is not to blame.
	maxBlameless = 4096
)

// Refusals acts when the pod of a TaskRun was refused. It asks the keeper, which does not follow TaskRuns, for a trial
// in the namespace. If the trial finds nothing and a policy refused the pod, the policy may depend on something that
// the pod of the trial lacks. In audit, the pods of the namespace are then left alone. If one is refused all the same,
// the signer is not to blame, and the exception ends. Keys in the work queue are names of namespaces.
type Refusals struct {
	pkgreconciler.LeaderAwareFuncs
	RefusalsConfig

	queue keyQueue

	mu        sync.Mutex
	refused   map[string]*refusedIn
	blameless map[string]time.Time // namespaces that refuse pods without the signer, too, and until when that counts
}

// RefusalsConfig is what NewRefusals needs.
type RefusalsConfig struct {
	Client kubernetes.Interface
	// Image is the signer's image that pods get now.
	Image string
	// Wanted reports whether pods of a namespace get the signer. Enforced reports whether TaskRuns fail there without it.
	Wanted, Enforced func(namespace string) bool
	View             *delivery.View
	// Store holds the exceptions with source Refusal.
	Store *delivery.Store
	// OnRefused is called when the pods of a namespace are left alone, and again when that ends because it did not help.
	OnRefused func(stopped bool)
	Recorder  record.EventRecorder
	Now       func() time.Time
	Log       *zap.SugaredLogger
}

// refusedIn is what happened in a namespace.
type refusedIn struct {
	wanted bool      // a trial, which was not asked for yet
	asked  time.Time // when one was
	by     *refusal  // somebody's policy, and nothing was done about it yet
}

// refusal is a TaskRun whose pod a policy refused.
type refusal struct {
	why     string
	since   time.Time                  // when the first one that nothing was done about was seen
	taskRun *unstructured.Unstructured // only what an event names
}

// NewRefusals returns the reconciler. Start connects it with a work queue.
func NewRefusals(c RefusalsConfig) *Refusals {
	r := &Refusals{RefusalsConfig: c, refused: map[string]*refusedIn{}, blameless: map[string]time.Time{}}
	r.PromoteFunc = func(pkgreconciler.Bucket, func(pkgreconciler.Bucket, types.NamespacedName)) error {
		r.enqueueAll(r.View.Table())
		return nil
	}
	return r
}

// Start connects the reconciler with its work queue of namespaces.
func (r *Refusals) Start(queue keyQueue) {
	r.queue = queue
	r.View.OnChange(r.enqueueAll)
}

// enqueueAll puts all namespaces that are left alone into the work queue: each of these exceptions ends some time.
func (r *Refusals) enqueueAll(table delivery.Table) {
	for _, e := range table.Entries() {
		if e.Source == delivery.Refusal {
			r.queue.EnqueueKey(types.NamespacedName{Name: e.Namespace})
		}
	}
}

// Seen is shown a TaskRun that has just failed because its pod was refused.
func (r *Refusals) Seen(taskRun *unstructured.Unstructured) {
	namespace := taskRun.GetNamespace()
	r.mu.Lock()
	in := r.refused[namespace]
	if in == nil {
		in = &refusedIn{}
		r.refused[namespace] = in
	}
	in.wanted = true
	now := r.Now()
	if why := r.policy(stateOf(taskRun).succeeded); why != "" && failedLately(taskRun, now) {
		latest := &refusal{why, now, onlyNames(taskRun)}
		if in.by != nil && now.Sub(in.by.since) < failedJustNow { // else it is left from when this replica led before
			latest.since = in.by.since
		}
		in.by = latest
	}
	r.mu.Unlock()
	r.queue.EnqueueKey(types.NamespacedName{Name: namespace})
}

// onlyNames returns of a TaskRun what an event names.
func onlyNames(taskRun *unstructured.Unstructured) *unstructured.Unstructured {
	only := &unstructured.Unstructured{Object: map[string]any{}}
	only.SetNamespace(taskRun.GetNamespace())
	only.SetName(taskRun.GetName())
	only.SetUID(taskRun.GetUID())
	only.SetCreationTimestamp(taskRun.GetCreationTimestamp())
	return only
}

// Reconcile implements controller.Reconciler.
func (r *Refusals) Reconcile(ctx context.Context, key string) error {
	_, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return controller.NewPermanentError(err)
	}
	if !r.IsLeaderFor(types.NamespacedName{Name: name}) {
		r.forget(name)
		return controller.NewSkipKey(key)
	}
	if err := r.askFor(ctx, name); err != nil {
		return err
	}
	if err := r.judge(ctx, name); err != nil {
		return err
	}
	if err := r.end(ctx, name); err != nil {
		return err
	}
	if next := r.next(name); next > 0 {
		return controller.NewRequeueAfter(next)
	}
	return nil
}

// forget drops what another replica takes care of.
func (r *Refusals) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.refused, name)
}

// of returns what happened in a namespace.
func (r *Refusals) of(name string) refusedIn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in := r.refused[name]; in != nil {
		return *in
	}
	return refusedIn{}
}

// askFor asks for the trial that a namespace wants, unless it has asked lately.
func (r *Refusals) askFor(ctx context.Context, name string) error {
	now := r.Now()
	if in := r.of(name); !in.wanted || now.Sub(in.asked) < refusalInterval {
		return nil
	}
	err := r.Store.AskForTrial(ctx, name, now)
	if errors.Is(err, delivery.ErrFull) {
		r.Log.Infow("no trial is asked for, because too many namespaces ask: it is tried in its turn", "namespace", name)
	} else if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in := r.refused[name]; in != nil {
		in.wanted, in.asked = false, now
	}
	return nil
}

// next returns the time until a namespace must be looked at again, or 0 if it need not be. It drops what no longer
// matters.
func (r *Refusals) next(name string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	in, left := r.refused[name], time.Duration(0)
	if e, ok := r.View.Table().Of(name, delivery.Refusal); ok {
		left = max(time.Second, refusalHolds-r.Now().Sub(e.Since))
	}
	switch {
	case in == nil:
		return left
	case in.by != nil:
		return time.Second
	case r.Now().Sub(in.asked) < refusalInterval:
		return refusalInterval - r.Now().Sub(in.asked)
	case in.wanted:
		return time.Second
	}
	delete(r.refused, name)
	return left
}

// judge acts on a refusal by somebody's policy once it is known what the keeper found.
func (r *Refusals) judge(ctx context.Context, name string) error {
	in := r.of(name)
	if in.by == nil {
		return nil
	}
	e, has := r.View.For(name)
	switch {
	case !r.Wanted(name) || r.Enforced(name) || r.isBlameless(name):
	case has && e.Delivery == delivery.None:
		if e.Source != delivery.Refusal || !r.withoutSigner(in.by, e) {
			break // what was under way
		}
		if err := r.absolve(ctx, name, *in.by); err != nil {
			return err
		}
	case has && in.by.taskRun.GetCreationTimestamp().Sub(e.Since) < leftAloneSince:
		// the trial has found another way meanwhile
	case !r.answered(name, in):
		return nil
	default:
		if err := r.leaveAlone(ctx, name, *in.by); err != nil {
			return err
		}
	}
	r.done(name, in.by)
	return nil
}

// done forgets a refusal, unless there is another one by now.
func (r *Refusals) done(name string, by *refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in := r.refused[name]; in != nil && in.by == by {
		in.by = nil
	}
}

// answered reports whether the keeper has had the time for a trial since the refusal.
func (r *Refusals) answered(name string, in refusedIn) bool {
	waited := r.Now().Sub(in.asked)
	had := waited >= trialAnswered && !r.View.Table().AskedFor(name)
	return !in.asked.Before(in.by.since) && (had || waited >= trialAwaited)
}

// withoutSigner reports whether the refused pod had no signer: its TaskRun was made when every replica knew the
// exception, and the policy's message names nothing of ours.
func (r *Refusals) withoutSigner(by *refusal, e delivery.Entry) bool {
	return by.taskRun.GetCreationTimestamp().Sub(e.Since) >= leftAloneSince && !r.isOurs(by.why)
}

// leaveAlone makes an exception: from now on, the pods of a namespace are left alone.
func (r *Refusals) leaveAlone(ctx context.Context, name string, by refusal) error {
	err := r.Store.Set(ctx, name, delivery.Exception{Delivery: delivery.None, Reason: by.why, Since: r.Now()})
	full := errors.Is(err, delivery.ErrFull)
	if err != nil && !full {
		return err
	}
	outcome := "TaskRuns of this namespace run unsigned from now on, to see whether the signer is why"
	if full {
		outcome = "TaskRuns here go on being refused if the signer is why: " + err.Error()
	} else {
		r.OnRefused(true)
	}
	return r.report(ctx, by, ReasonRefused, outcome+". Next: have the policy admit pods with the signer, and run "+
		"kubectl tekton-sign enable again; or leave the namespace out of signing")
}

// absolve withdraws an exception that did not help.
func (r *Refusals) absolve(ctx context.Context, name string, by refusal) error {
	if err := r.Store.Clear(ctx, name); err != nil {
		return err
	}
	r.remember(name)
	r.OnRefused(false)
	return r.report(ctx, by, ReasonRefusedAlso,
		"it had no signer: the signer is not why pods are refused here, and they get it again")
}

// remember that the signer is not to blame in a namespace. If there are too many, the oldest is forgotten.
func (r *Refusals) remember(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, oldest := r.Now(), ""
	for other, until := range r.blameless {
		if now.After(until) {
			delete(r.blameless, other)
		} else if oldest == "" || until.Before(r.blameless[oldest]) {
			oldest = other
		}
	}
	if len(r.blameless) >= maxBlameless {
		delete(r.blameless, oldest)
	}
	r.blameless[name] = now.Add(refusalHolds)
}

func (r *Refusals) isBlameless(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, ok := r.blameless[name]
	return ok && r.Now().Before(until)
}

// end withdraws an exception that has lasted long enough, or that a newer trial has answered.
func (r *Refusals) end(ctx context.Context, name string) error {
	table := r.View.Table()
	e, ok := table.Of(name, delivery.Refusal)
	trial, tried := table.Of(name, delivery.Trial)
	known := tried && trial.Image == e.Image && trial.Since.After(e.Since)
	if !ok || r.Now().Sub(e.Since) < refusalHolds && !known {
		return nil
	}
	if err := r.Store.Clear(ctx, name); err != nil {
		return err
	}
	r.Log.Infow("pods get the signer again", "namespace", name)
	r.record(corev1.EventTypeNormal, ReasonRefusalEnded,
		fmt.Sprintf("namespace %s: pods get the signer again; they were refused with it: %s", name, e.Reason))
	return nil
}

// report makes events about the TaskRun and the add-on: what happened, and what follows.
func (r *Refusals) report(ctx context.Context, by refusal, reason, outcome string) error {
	namespace := by.taskRun.GetNamespace()
	message := fmt.Sprintf("the pod was refused (%s); %s", display.Cut(by.why, maxEventMessage/2), outcome)
	r.Log.Warnw("the pod of a TaskRun was refused",
		"namespace", namespace, "taskRun", by.taskRun.GetName(), "reason", by.why, "outcome", outcome)
	r.record(corev1.EventTypeWarning, reason, "namespace "+namespace+": "+message)
	return events{r.Client, r.Now, r.Log}.report(ctx, by.taskRun, corev1.EventTypeWarning, reason, message)
}

// record makes an event of the add-on's Deployment.
func (r *Refusals) record(kind, reason, message string) {
	message = display.Cut(display.Safe(message), maxEventMessage)
	r.Recorder.Event(ownDeployment(manifests.Controller), kind, reason, message)
}
