// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Identity is the add-on's own SVID and the authorities of its trust domain and of those that it federates
// with, as SPIRE's agent on the node pushes them. It is safe for concurrent use.
type Identity struct {
	onChange func()

	mu      sync.RWMutex
	current *workloadapi.X509Context
	err     error // of the last attempt, nil once there is an identity
}

var (
	_ x509svid.Source                = (*Identity)(nil)
	_ x509bundle.Source              = (*Identity)(nil)
	_ workloadapi.X509ContextWatcher = (*Identity)(nil)
)

// errNoAgent is the error before the agent has answered for the first time.
var errNoAgent = errors.New("SPIRE's agent on this node has not answered yet: check the agent and the CSI driver")

// NewIdentity returns an empty identity. Follow fills it in. onChange is called after every change.
func NewIdentity(onChange func()) *Identity { return &Identity{onChange: onChange, err: errNoAgent} }

// steady is a pause between attempts to reach the agent that stays the same. By default, it grows to 30
// seconds, and an agent that is restarted would be noticed late.
type steady time.Duration

// NewBackoff implements workloadapi.BackoffStrategy.
func (s steady) NewBackoff() workloadapi.Backoff { return s }

// Next implements workloadapi.Backoff.
func (s steady) Next() time.Duration { return time.Duration(s) }

// Reset implements workloadapi.Backoff.
func (s steady) Reset() {}

const agentPause = steady(2 * time.Second)

// Follow follows the agent whose socket has this file name in SocketDir, until ctx ends.
func (i *Identity) Follow(ctx context.Context, socket string) error {
	return workloadapi.WatchX509Context(ctx, i,
		workloadapi.WithAddr("unix://"+path.Join(SocketDir, socket)),
		workloadapi.WithBackoffStrategy(agentPause))
}

// OnX509ContextUpdate implements workloadapi.X509ContextWatcher.
func (i *Identity) OnX509ContextUpdate(update *workloadapi.X509Context) {
	i.mu.Lock()
	i.current, i.err = update, nil
	i.mu.Unlock()
	i.onChange()
}

// OnX509ContextWatchError implements workloadapi.X509ContextWatcher.
func (i *Identity) OnX509ContextWatchError(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = fmt.Errorf("asking SPIRE's agent on this node: %w", err)
}

// Err returns why the agent does not answer now, or nil. What it has answered before stays in use.
func (i *Identity) Err() error {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.err
}

func (i *Identity) get() (*workloadapi.X509Context, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.current == nil {
		return nil, i.err
	}
	return i.current, nil
}

// GetX509SVID implements x509svid.Source. Others may register all pods of the cluster too, as the default of SPIRE's
// Helm chart does, and then the agent issues several SVIDs: the one that docs/spire.md registers is preferred.
func (i *Identity) GetX509SVID() (*x509svid.SVID, error) {
	current, err := i.get()
	if err != nil {
		return nil, err
	}
	for _, svid := range current.SVIDs {
		if svid.ID.String() == spire.AddOnIDs(svid.ID.TrustDomain().Name())[0] {
			return svid, nil
		}
	}
	return current.DefaultSVID(), nil
}

// GetX509BundleForTrustDomain implements x509bundle.Source.
func (i *Identity) GetX509BundleForTrustDomain(domain spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	current, err := i.get()
	if err != nil {
		return nil, err
	}
	return current.Bundles.GetX509BundleForTrustDomain(domain)
}

// Limits of the authorities of federated trust domains: their operators decide how many there are.
const (
	maxFederated            = 64 // trust domains
	maxFederatedAuthorities = 32 // of each
)

// Bundles returns the authorities in use now: those of the cluster's own trust domain, and those of federated trust
// domains. own is the name of the cluster's own one. Where SPIRE's server has another one, its authorities are in
// the first list, too. Bundles returns nothing before the agent has answered.
func (i *Identity) Bundles(own string) (ours, federated []trust.Domain) {
	current, err := i.get()
	if err != nil {
		return nil, nil
	}
	server := current.DefaultSVID().ID.TrustDomain().Name()
	for _, bundle := range current.Bundles.Bundles() {
		name := bundle.TrustDomain().Name()
		b, err := spiffeBundle(name, bundle.X509Authorities())
		if err != nil {
			continue // it has none
		}
		b.Federated = name != own
		switch {
		case name == own || name == server:
			ours = append(ours, b)
		case len(federated) < maxFederated:
			b.X509Authorities = b.X509Authorities[:min(len(b.X509Authorities), maxFederatedAuthorities)]
			federated = append(federated, b)
		}
	}
	return ours, federated
}
