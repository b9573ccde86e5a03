// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Resources that the gate for Chains holds.
const (
	TaskRuns     = "taskruns"
	PipelineRuns = "pipelineruns"
)

// Timing of the gate.
const (
	gateSynced = 100 * time.Millisecond // between checks whether settings and namespaces are known
	gateSweep  = 30 * time.Second       // between attempts to list everything when the gate is turned off
	gatePoll   = 15 * time.Second       // between reads of the TaskRuns of a completed PipelineRun
	gateHold   = time.Second            // how long the webhook has to place the hold
)

// ChainsGateConfig is what NewChainsGate needs.
type ChainsGateConfig struct {
	Client     dynamic.Interface
	Settings   *Settings
	Namespaces *Namespaces
	Resource   string // TaskRuns or PipelineRuns
	// Proves reports whether the verdict in a TaskRun is the add-on's.
	Proves func(context.Context, *unstructured.Unstructured) bool
	Log    *zap.SugaredLogger
	Now    func() time.Time
}

// ChainsGate decides about the objects of one resource that are held from Chains, by the rules of package chains. It
// places the hold if the webhook missed the object. When the gate is turned off, it releases all undecided objects.
type ChainsGate struct {
	pkgreconciler.LeaderAwareFuncs
	ChainsGateConfig

	queue   *controller.Impl
	leading Leading
	since   atomic.Int64  // when this replica began to lead (Unix time)
	changed chan struct{} // the settings
}

// NewChainsGate returns the reconciler. It does nothing until Start has been called.
func NewChainsGate(config ChainsGateConfig) *ChainsGate {
	return &ChainsGate{ChainsGateConfig: config, changed: make(chan struct{}, 1)}
}

// Start watches the objects until ctx ends, while this replica leads.
func (g *ChainsGate) Start(ctx context.Context, queue *controller.Impl) {
	g.queue = queue
	g.Settings.OnChange(func() {
		select {
		case g.changed <- struct{}{}:
		default: // it is known that something changed
		}
	})
	g.PromoteFunc = func(pkgreconciler.Bucket, func(pkgreconciler.Bucket, types.NamespacedName)) error {
		g.leading.Promote(ctx, g.run)
		return nil
	}
	g.DemoteFunc = func(pkgreconciler.Bucket) { g.leading.Demote() }
}

// run watches all objects while the gate is on. When it is off, it reads each of them once. It starts again when the
// settings change.
func (g *ChainsGate) run(ctx context.Context) {
	g.since.Store(g.Now().Unix())
	for !g.Settings.HasSynced() || !g.Namespaces.HasSynced() {
		if !pause(ctx, gateSynced, nil) {
			return
		}
	}
	for ctx.Err() == nil {
		round, end := context.WithCancel(ctx)
		again := time.Duration(0)
		if g.on() {
			feed := NewFeed(DynamicSource(g.objects()), g.see, g.Log)
			go feed.Run(round)
		} else if err := g.sweep(round); err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
			g.Log.Errorw("looking for holds to take away", "resource", g.Resource, zap.Error(err))
			again = gateSweep
		}
		pause(ctx, again, g.changed)
		end()
	}
}

// pause waits for a time (0: without limit) or for a message. It reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration, sent <-chan struct{}) bool {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-over:
	case <-sent:
	}
	return true
}

func (g *ChainsGate) on() bool {
	s := g.Settings.Get()
	return s.GateChains && s.Backend != signing.BackendNone
}

// onIn is also true in a namespace that is being deleted, because that must not release objects to Chains.
func (g *ChainsGate) onIn(namespace string) bool { return g.on() && g.Namespaces.Chosen(namespace) }

func (g *ChainsGate) objects() dynamic.NamespaceableResourceInterface {
	return g.Client.Resource(tektonResource(g.Resource))
}

func tektonResource(name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: name}
}

// sweep reads every object once. When the gate is off, the add-on may lack the permission. Then the plugin, which
// removed it, does this.
func (g *ChainsGate) sweep(ctx context.Context) error {
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		return g.objects().List(ctx, o)
	})
	pages.PageSize, pages.PageBufferSize = feedPage, 1
	return pages.EachListItem(ctx, metav1.ListOptions{}, func(obj runtime.Object) error {
		if u, ok := obj.(*unstructured.Unstructured); ok {
			g.see(watch.Added, u)
		}
		return nil
	})
}

// see decides whether an object needs more work, now or later.
func (g *ChainsGate) see(event watch.EventType, u *unstructured.Unstructured) {
	if event == watch.Deleted {
		return
	}
	key := types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetName()}
	run := g.read(context.Background(), u)
	decision := g.decide(run, u)
	switch {
	case decision.Action == chains.Place && run.State() == chains.None:
		g.queue.EnqueueKeyAfter(key, gateHold)
	case decision.Action != chains.Nothing || g.toBeJudged(run, u.GetNamespace()):
		g.queue.EnqueueKey(key)
	case !decision.Again.IsZero():
		g.queue.EnqueueKeyAfter(key, g.until(decision.Again))
	}
}

// read returns the facts for the gate. A verdict counts only if it is the add-on's. If a deletion began before this
// replica led, it counts from that time, because nobody decided until then.
func (g *ChainsGate) read(ctx context.Context, u *unstructured.Unstructured) chains.Run {
	run := chains.Read(u)
	if run.Kind == "TaskRun" && run.Complete && !g.Proves(ctx, u) {
		run = run.Unproven()
	}
	if since := time.Unix(g.since.Load(), 0); !run.Deleted.IsZero() && run.Deleted.Before(since) {
		run.Deleted = since
	}
	return run
}

// decide ignores TaskRuns and PipelineRuns that another controller runs.
func (g *ChainsGate) decide(run chains.Run, u *unstructured.Unstructured) chains.Decision {
	d := chains.Decide(run, g.onIn(u.GetNamespace()), g.Now())
	by, managed, _ := unstructured.NestedString(u.Object, "spec", "managedBy")
	if d.Action == chains.Place && managed && by != verify.TektonController {
		return chains.Decision{}
	}
	return d
}

// toBeJudged reports whether the verdict depends on other objects, which are not known yet.
func (g *ChainsGate) toBeJudged(run chains.Run, namespace string) bool {
	return g.Resource == PipelineRuns && run.Complete && run.State() == chains.Held && g.onIn(namespace)
}

func (g *ChainsGate) until(t time.Time) time.Duration { return max(t.Sub(g.Now()), time.Second) }

// Reconcile implements controller.Reconciler.
func (g *ChainsGate) Reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil || !g.IsLeaderFor(types.NamespacedName{Namespace: namespace, Name: name}) {
		return controller.NewSkipKey(key)
	}
	u, err := g.objects().Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s %s: %w", g.Resource, key, err)
	}
	run := g.read(ctx, u)
	composed := g.toBeJudged(run, namespace)
	if composed {
		if run.Verdict, run.Why, err = g.judge(ctx, u); err != nil {
			return err
		}
	}
	switch decision := g.decide(run, u); {
	case decision.Action != chains.Nothing:
		return g.carryOut(ctx, u, run, decision)
	case composed: // that its last TaskRun is judged does not change it
		return controller.NewRequeueAfter(gatePoll)
	case !decision.Again.IsZero():
		return controller.NewRequeueAfter(g.until(decision.Again))
	}
	return nil
}

// judge judges a PipelineRun by the TaskRuns that it owns.
func (g *ChainsGate) judge(ctx context.Context, pipelineRun *unstructured.Unstructured) (chains.Verdict, string,
	error) {
	taskRuns := g.Client.Resource(tektonResource(TaskRuns)).Namespace(pipelineRun.GetNamespace())
	// everybody can write the label: it narrows the search, and proves nothing
	selector := labels.Set{pipeline.PipelineRunUIDLabelKey: string(pipelineRun.GetUID())}.String()
	list, err := taskRuns.List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return chains.Pending, "", fmt.Errorf("listing the TaskRuns of PipelineRun %s/%s: %w",
			pipelineRun.GetNamespace(), pipelineRun.GetName(), err)
	}
	found := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		found[list.Items[i].GetName()] = &list.Items[i]
	}
	names, _ := chains.References(pipelineRun)
	for _, name := range names { // those that lost their label
		if found[name] != nil {
			continue
		}
		taskRun, err := taskRuns.Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			found[name] = taskRun
		case !apierrors.IsNotFound(err):
			return chains.Pending, "", fmt.Errorf("reading TaskRun %s/%s: %w", pipelineRun.GetNamespace(), name, err)
		}
	}
	var children []chains.Child
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if chains.Owns(pipelineRun, found[name]) {
			children = append(children, chains.Child{Name: name, Run: g.read(ctx, found[name])})
		}
	}
	verdict, why := chains.Judge(pipelineRun, children)
	return verdict, why, nil
}

func (g *ChainsGate) carryOut(ctx context.Context, u *unstructured.Unstructured, run chains.Run,
	d chains.Decision) error {
	patch, err := d.Change(run).MergePatch(run)
	if err != nil {
		return err
	}
	_, err = g.objects().Namespace(u.GetNamespace()).Patch(ctx, u.GetName(), types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: manifests.Controller})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err): // its change is shown, too; but one that was shown already is not shown again
		return controller.NewRequeueAfter(gateSynced)
	case err != nil:
		return fmt.Errorf("%s %s %s/%s: %w", d.Action, g.Resource, u.GetNamespace(), u.GetName(), err)
	}
	g.Log.Infow("gate of Chains", "action", d.Action, "resource", g.Resource, "namespace", u.GetNamespace(), "name",
		u.GetName(),
		"uid", run.UID, "why", d.Why)
	return nil
}
