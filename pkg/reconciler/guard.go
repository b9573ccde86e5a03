// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	admissioninformers "k8s.io/client-go/informers/admissionregistration/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// policyWatch watches the policies and bindings of an installation, each by its name.
type policyWatch struct {
	policies map[string]cache.SharedIndexInformer
	bindings map[string]cache.SharedIndexInformer
}

func newPolicyWatch(client kubernetes.Interface) *policyWatch {
	w := &policyWatch{
		policies: map[string]cache.SharedIndexInformer{}, bindings: map[string]cache.SharedIndexInformer{},
	}
	for _, name := range manifests.FencePolicies() {
		w.policies[name] = admissioninformers.NewFilteredValidatingAdmissionPolicyInformer(
			client, 0, cache.Indexers{}, onlyName(name))
	}
	for _, name := range manifests.FenceBindings() {
		w.bindings[name] = admissioninformers.NewFilteredValidatingAdmissionPolicyBindingInformer(
			client, 0, cache.Indexers{}, onlyName(name))
	}
	return w
}

func (w *policyWatch) informers() []cache.SharedIndexInformer {
	var all []cache.SharedIndexInformer
	for _, i := range w.policies {
		all = append(all, i)
	}
	for _, i := range w.bindings {
		all = append(all, i)
	}
	return all
}

// drift is an error that describes how the cluster's policies differ from those of an installation.
func (w *policyWatch) drift(tekton settings.Account, s settings.Settings) error {
	want, err := manifests.RenderPolicies(manifests.Options{
		TektonNamespace: tekton.Namespace, TektonAccount: tekton.Name, Settings: s,
	})
	if err != nil {
		return err
	}
	return want.OfFence().Drift(
		func(name string) *admissionv1.ValidatingAdmissionPolicy {
			return get[*admissionv1.ValidatingAdmissionPolicy](w.policies[name], name)
		},
		func(name string) *admissionv1.ValidatingAdmissionPolicyBinding {
			return get[*admissionv1.ValidatingAdmissionPolicyBinding](w.bindings[name], name)
		})
}

// get returns the object called key from an informer's store, or nil.
func get[T any](informer cache.SharedIndexInformer, key string) T {
	var none T
	if informer == nil {
		return none
	}
	obj, ok, err := informer.GetStore().GetByKey(key)
	if err != nil || !ok {
		return none
	}
	typed, ok := obj.(T)
	if !ok {
		return none
	}
	return typed
}

// verdict is what the guard knows about the policies.
type verdict int

const (
	unknown  verdict = iota // not probed often enough yet: grants stay as they are
	inEffect                // the policies refuse, and grants can be created
	fails                   // grants are withdrawn
)

// Timing of the guard.
const (
	probesNeeded  = 5                      // refusals in a row before a grant is given
	probeInterval = 500 * time.Millisecond // between them
	probeAgain    = 5 * time.Minute        // how often the policies are examined again
	driftGrace    = 2 * time.Second        // how long a plugin that is changing policies and settings may take
	retryInterval = 2 * time.Second        // after an examination without a grant
)

// guard decides whether grants can be created. It has no goroutine of its own: examine is called, and returns when
// to call it again.
type guard struct {
	drift func() error                // describes how the policies differ
	probe func(context.Context) error // explains that the policies do not refuse
	now   func() time.Time

	state    verdict
	reason   error
	refusals int       // in a row
	drifting time.Time // since when; zero: not
}

// examine examines the policies once.
func (g *guard) examine(ctx context.Context) (again time.Duration) {
	if err := g.drift(); err != nil {
		g.refusals = 0
		if g.drifting.IsZero() {
			g.drifting = g.now()
		}
		if g.now().Sub(g.drifting) < driftGrace {
			return probeInterval
		}
		g.state, g.reason = fails, err
		return retryInterval
	}
	g.drifting = time.Time{}
	if err := g.probe(ctx); err != nil {
		g.refusals = 0
		var notRefused *notRefusedError
		if errors.As(err, &notRefused) {
			g.state = fails
		}
		// Any other failure is inconclusive, and does not change the grants.
		g.reason = fmt.Errorf("the admission policies were not seen to bite: %w", err)
		return retryInterval
	}
	g.refusals++
	if g.refusals < probesNeeded {
		return probeInterval
	}
	g.state, g.reason = inEffect, nil
	return probeAgain
}

// ready reports whether a first grant can be given: the policies refused often enough since the last change of them
// and of the settings. The age of that grant shows since when they protect its namespace, and a namespace that has
// just come into scope may not be in their bindings yet.
func (g *guard) ready() bool { return g.state == inEffect && g.refusals >= probesNeeded }

// restart forgets the refusals so far, after a change of the policies or of the settings behind them.
func (g *guard) restart() { g.refusals = 0 }
