// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Grants keeps, in each namespace in scope, the RoleBinding that shows since when the policies protect the
// namespace, as long as they are in effect. If steps sign with tokens, it also lets the pods there request them.
// Its keys are names of namespaces, and policiesKey.
//
// The replica that leads does all of it. Every other one looks at the policies too, and gives a namespace its first
// grant, so that the pods of a new namespace need not wait for a leader. Whatever it has seen given once it leaves
// to the leader, who may have taken it away.
type Grants struct {
	pkgreconciler.LeaderAwareFuncs

	client     kubernetes.Interface
	settings   *Settings
	namespaces *Namespaces
	given      *GrantTimes
	fence      string // of the policies of this version
	policies   *policyWatch
	recorder   record.EventRecorder
	log        *zap.SugaredLogger

	enqueue func(types.NamespacedName)

	mu    sync.Mutex
	guard guard
	told  verdict         // of the policies, in the last event
	known map[string]bool // namespaces whose grant was seen
}

// policiesKey is the key for examining the policies. Names of namespaces have no slash.
var policiesKey = types.NamespacedName{Namespace: "policies", Name: "probe"}

// PolicyCheck probes the policies. It returns an error unless they refuse what they must.
type PolicyCheck func(ctx context.Context, s settings.Settings) error

// GrantsConfig is what NewGrants needs.
type GrantsConfig struct {
	Client          kubernetes.Interface
	Settings        *Settings
	Namespaces      *Namespaces
	TektonNamespace string
	TektonAccount   string // of Tekton's controller
	Probe           PolicyCheck
	Recorder        record.EventRecorder
	Log             *zap.SugaredLogger
	Now             func() time.Time
}

// NewGrants returns the reconciler. Start connects it with a work queue.
func NewGrants(c GrantsConfig) (*Grants, error) {
	fence, err := manifests.FenceVersion()
	if err != nil {
		return nil, err
	}
	g := &Grants{
		client: c.Client, settings: c.Settings, namespaces: c.Namespaces, recorder: c.Recorder, log: c.Log,
		given: NewGrantTimes(c.Client), fence: fence, policies: newPolicyWatch(c.Client), known: map[string]bool{},
	}
	tekton := settings.Account{Namespace: c.TektonNamespace, Name: c.TektonAccount}
	g.guard = guard{
		drift: func() error { return g.policies.drift(tekton, g.settings.Get()) },
		probe: func(ctx context.Context) error { return c.Probe(ctx, g.settings.Get()) },
		now:   c.Now,
	}
	g.PromoteFunc = func(b pkgreconciler.Bucket, enqueue func(pkgreconciler.Bucket, types.NamespacedName)) error {
		enqueue(b, policiesKey)
		for _, name := range g.namespaces.Names() {
			enqueue(b, types.NamespacedName{Name: name})
		}
		return nil
	}
	return g, nil
}

// Start puts changes into the work queue, and runs the informers until ctx ends.
func (g *Grants) Start(ctx context.Context, queue *controller.Impl) {
	g.enqueue = queue.EnqueueKey
	g.namespaces.OnChange(func(name string) {
		if !g.namespaces.Exists(name) {
			g.setKnown(name, false)
		}
		g.enqueue(types.NamespacedName{Name: name})
	})
	g.settings.OnChange(g.policiesChanged)
	mustAdd(g.given.informer, controller.HandleAll(func(obj any) {
		if m, ok := obj.(metav1.Object); ok {
			g.setKnown(m.GetNamespace(), g.namespaces.Exists(m.GetNamespace()))
			g.enqueue(types.NamespacedName{Name: m.GetNamespace()})
		}
	}))
	for _, informer := range g.policies.informers() {
		mustAdd(informer, controller.HandleAll(func(any) { g.policiesChanged() }))
		go informer.RunWithContext(ctx)
	}
	go g.given.Run(ctx)
}

// HasSynced reports whether everything is known on which Reconcile depends.
func (g *Grants) HasSynced() bool {
	for _, informer := range g.policies.informers() {
		if !informer.HasSynced() {
			return false
		}
	}
	return g.given.HasSynced() && g.settings.HasSynced() && g.namespaces.HasSynced()
}

// policiesChanged examines the policies again, and all namespaces after a change of the settings.
func (g *Grants) policiesChanged() {
	g.mu.Lock()
	g.guard.restart()
	g.mu.Unlock()
	g.enqueue(policiesKey)
	g.enqueueAll()
}

func (g *Grants) enqueueAll() {
	for _, name := range g.namespaces.Names() {
		g.enqueue(types.NamespacedName{Name: name})
	}
}

// Reconcile implements controller.Reconciler.
func (g *Grants) Reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return controller.NewPermanentError(err)
	}
	id := types.NamespacedName{Namespace: namespace, Name: name}
	if !g.HasSynced() {
		return controller.NewRequeueAfter(probeInterval)
	}
	leading := g.IsLeaderFor(id)
	switch {
	case id == policiesKey:
		return g.examinePolicies(ctx, leading)
	case leading:
		return g.reconcileNamespace(ctx, name)
	default:
		return g.giveFirst(ctx, name)
	}
}

// examinePolicies examines the policies once and again when due. If the outcome changes, it examines all namespaces.
// Only the leader reports a change.
func (g *Grants) examinePolicies(ctx context.Context, leading bool) error {
	if !backends.Of(g.settings.Get().Backend).Enabled {
		return nil // nobody gets a grant; a change of the settings calls again
	}
	g.mu.Lock()
	before, wasReady := g.guard.state, g.guard.ready()
	again := g.guard.examine(ctx)
	after, reason, told := g.guard.state, g.guard.reason, g.told
	more := g.guard.ready() && !wasReady
	if leading {
		g.told = after
	}
	g.mu.Unlock()
	switch {
	case leading && told != after:
		g.report(after, reason)
	case reason != nil:
		g.log.Warn(reason)
	}
	if before != after || more {
		g.enqueueAll()
	}
	return controller.NewRequeueAfter(again)
}

// report reports a change of the guard's verdict as a log line and an event of the keeper's Deployment.
func (g *Grants) report(state verdict, reason error) {
	deployment := ownDeployment(manifests.Keeper)
	if state == inEffect {
		g.log.Info("the admission policies bite: namespaces in scope get their grants")
		g.recorder.Event(deployment, corev1.EventTypeNormal, "GrantsGiven",
			"the admission policies are in effect: TaskRuns in scope are verified from now on")
		return
	}
	g.log.Errorf("grants are withdrawn: %v; run kubectl tekton-sign enable again", reason)
	g.recorder.Eventf(deployment, corev1.EventTypeWarning, "GrantsWithdrawn",
		"no step can sign, and no receipt is made: %v; run kubectl tekton-sign enable again", reason)
}

// reconcileNamespace creates or withdraws the grant of a namespace.
func (g *Grants) reconcileNamespace(ctx context.Context, name string) error {
	g.mu.Lock()
	state, ready := g.guard.state, g.guard.ready()
	g.mu.Unlock()
	wanted := g.wanted(name)
	live := g.given.of(name)
	switch {
	case live != nil && (!wanted || state == fails):
		return g.withdraw(ctx, live)
	case wanted && state == inEffect && (live != nil || ready):
		return g.give(ctx, name, live)
	case live != nil && live.Annotations[manifests.AnnotationFence] != g.fence && len(live.Subjects) > 0:
		return g.suspend(ctx, live)
	}
	return nil
}

// giveFirst creates the first grant of a namespace.
func (g *Grants) giveFirst(ctx context.Context, name string) error {
	g.mu.Lock()
	first := g.guard.ready() && !g.known[name]
	g.mu.Unlock()
	if !first || g.given.of(name) != nil || !g.wanted(name) {
		return nil
	}
	return g.give(ctx, name, nil)
}

func (g *Grants) setKnown(namespace string, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if known {
		g.known[namespace] = true
	} else {
		delete(g.known, namespace)
	}
}

// wanted reports whether a namespace has a grant by the settings.
func (g *Grants) wanted(namespace string) bool {
	return backends.Of(g.settings.Get().Backend).Enabled && g.namespaces.InScope(namespace)
}

// suspend withdraws the permission that was granted under the policies of another version, until those of this
// version are in effect. The RoleBinding stays, because its age shows since when the namespace signs.
func (g *Grants) suspend(ctx context.Context, live *rbacv1.RoleBinding) error {
	suspended := live.DeepCopy()
	suspended.Subjects = nil
	_, err := g.client.RbacV1().RoleBindings(live.Namespace).Update(ctx, suspended,
		metav1.UpdateOptions{FieldManager: manifests.Keeper})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("suspending the grant of namespace %s: %w", live.Namespace, err)
	}
	return nil
}

// give creates or repairs the grant.
func (g *Grants) give(ctx context.Context, namespace string, live *rbacv1.RoleBinding) error {
	grant := manifests.GrantInstead(live, g.settings.Get().Backend, namespace, g.fence)
	client := g.client.RbacV1().RoleBindings(namespace)
	if live == nil {
		_, err := client.Create(ctx, grant, metav1.CreateOptions{FieldManager: manifests.Keeper})
		if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
			return nil // seen soon; or the namespace is gone again
		}
		if err != nil {
			return fmt.Errorf("granting namespace %s: %w", namespace, err)
		}
		return nil
	}
	if live.DeletionTimestamp != nil || manifests.SameGrant(live, grant) {
		return nil
	}
	if live.RoleRef != grant.RoleRef { // cannot be changed: its deletion calls again
		return g.withdraw(ctx, live)
	}
	repaired := live.DeepCopy()
	repaired.Labels, repaired.Annotations, repaired.Subjects = grant.Labels, grant.Annotations, grant.Subjects
	if _, err := client.Update(ctx, repaired, metav1.UpdateOptions{FieldManager: manifests.Keeper}); err != nil {
		return fmt.Errorf("repairing the grant of namespace %s: %w", namespace, err)
	}
	return nil
}

func (g *Grants) withdraw(ctx context.Context, live *rbacv1.RoleBinding) error {
	err := g.client.RbacV1().RoleBindings(live.Namespace).Delete(ctx, live.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &live.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("withdrawing the grant of namespace %s: %w", live.Namespace, err)
	}
	return nil
}
