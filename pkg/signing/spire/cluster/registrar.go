// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Registrar keeps the add-on's identity and its client of SPIRE's server in line with the settings. It is safe
// for concurrent use.
type Registrar struct {
	settings func() settings.Settings
	identity *Identity
	status   *Status
	log      *zap.SugaredLogger
	now      func() time.Time
	changed  chan struct{}

	mu      sync.Mutex
	entries *Entries       // nil before the first use
	of      settings.SPIRE // what entries was made for
}

// RegistrarOptions are what NewRegistrar needs.
type RegistrarOptions struct {
	Settings func() settings.Settings
	OnChange func() // is called when the authorities of a trust domain have changed
	// Trusted returns the authorities that the add-on has seen, nil if it knows none yet.
	Trusted func() *trust.Cluster
	Now     func() time.Time
	Log     *zap.SugaredLogger
}

// NewRegistrar returns a registrar.
func NewRegistrar(o RegistrarOptions) *Registrar {
	identity := NewIdentity(o.OnChange)
	return &Registrar{
		settings: o.Settings, identity: identity, log: o.Log, now: o.Now, changed: make(chan struct{}, 1),
		status: NewStatus(o, identity),
	}
}

// Status returns the client that signs and verifies the status of TaskRuns, whatever the backend is.
func (r *Registrar) Status() cluster.StatusClient { return r.status }

// SettingsChanged makes Run read the settings again.
func (r *Registrar) SettingsChanged() {
	select {
	case r.changed <- struct{}{}:
	default: // Run has not yet read an earlier change
	}
}

// Run follows SPIRE's agent while the backend is spire, until ctx ends.
func (r *Registrar) Run(ctx context.Context) {
	for ctx.Err() == nil {
		r.follow(ctx)
	}
}

// follow follows the agent until the settings change.
func (r *Registrar) follow(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s := r.settings(); s.Backend == signing.BackendSPIRE {
		go func() {
			err := r.identity.Follow(ctx, s.SPIRE.Step().Socket)
			if ctx.Err() == nil {
				r.log.Errorw("following SPIRE's agent", zap.Error(err))
			}
		}()
	}
	select {
	case <-ctx.Done():
	case <-r.changed:
	}
}

// Client returns the client with which TaskRuns are registered now. After the backend was changed, it returns
// the last one, so that registrations can be ended.
func (r *Registrar) Client() (cluster.ControllerClient, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.settings()
	if s.Backend != signing.BackendSPIRE || s.SPIRE.Entries != settings.EntriesAPI {
		if r.entries == nil {
			return withStatus{cluster.NoopControllerClient{}, r.status}, nil
		}
		return withStatus{r.entries, r.status}, nil
	}
	if err := r.ready(s.SPIRE); err != nil {
		return nil, err
	}
	if r.entries != nil && r.of == s.SPIRE {
		return withStatus{r.entries, r.status}, nil
	}
	entries, err := NewEntries(EntriesOptions{
		Address: s.SPIRE.ServerAddr, ServerID: s.SPIRE.ServerID(), TrustDomain: s.SPIRE.TrustDomain,
		Alias: s.SPIRE.NodeAliasPrefix, Cluster: s.SPIRE.Cluster,
		SVIDs: r.identity, Bundles: r.identity, Now: r.now,
	})
	if err != nil {
		return nil, err
	}
	if r.entries != nil {
		_ = r.entries.Close() // it is replaced
	}
	r.entries, r.of = entries, s.SPIRE
	return withStatus{entries, r.status}, nil
}

// withStatus is a ControllerClient.
type withStatus struct {
	cluster.EntryClient
	cluster.StatusClient
}

// ready returns an error unless the add-on has an identity of the trust domain.
func (r *Registrar) ready(s settings.SPIRE) error {
	svid, err := r.identity.GetX509SVID()
	if err != nil {
		return err
	}
	if got := svid.ID.TrustDomain().Name(); got != s.TrustDomain {
		return fmt.Errorf("expected trust domain %q, as in ConfigMap config-spire, got an SVID of %q: correct "+
			"spire-trust-domain there", s.TrustDomain, got)
	}
	return nil
}

// Trust adds the authorities in use now to a cluster, except for those of federated trust domains.
func (r *Registrar) Trust(c *trust.Cluster) {
	s := r.settings()
	if s.Backend != signing.BackendSPIRE {
		return
	}
	c.TrustDomain = s.SPIRE.TrustDomain
	c.Domains, _ = r.identity.Bundles(s.SPIRE.TrustDomain)
}

// Federated adds the authorities of federated trust domains that are in use now to a cluster.
func (r *Registrar) Federated(c *trust.Cluster) {
	s := r.settings()
	if s.Backend == signing.BackendSPIRE {
		_, federated := r.identity.Bundles(s.SPIRE.TrustDomain)
		c.Domains = append(c.Domains, federated...)
	}
}
