// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// current are settings that a test changes while they are read.
type current struct {
	atomic.Pointer[settings.Settings]
}

func (c *current) get() settings.Settings { return *c.Load() }

func (c *current) set(backend signing.Backend, change func(*settings.SPIRE)) {
	s := settings.Default()
	s.Backend = backend
	s.SPIRE.TrustDomain = testDomain
	if change != nil {
		change(&s.SPIRE)
	}
	c.Store(&s)
}

func newRegistrar(backend signing.Backend) (*Registrar, *current) {
	c := &current{}
	c.set(backend, nil)
	return NewRegistrar(RegistrarOptions{
		Settings: c.get, OnChange: func() {}, Trusted: func() *trust.Cluster { return nil }, Now: noon,
		Log: zap.NewNop().Sugar(),
	}), c
}

// identify gives the registrar an identity, as an agent does.
func (r *Registrar) identify(t *testing.T, a *authority) {
	t.Helper()
	r.identifyAs(t, a, adminPath)
}

// identifyAs does so with a path of the SPIFFE ID.
func (r *Registrar) identifyAs(t *testing.T, a *authority, path string) {
	t.Helper()
	r.identity.OnX509ContextUpdate(&workloadapi.X509Context{
		SVIDs: []*x509svid.SVID{a.svid(t, path)}, Bundles: x509bundle.NewSet(a.bundle()),
	})
}

func (r *Registrar) want(t *testing.T, what string) cluster.ControllerClient {
	t.Helper()
	client, err := r.Client()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return client
}

// TestRegistrarClient returns the client that fits the settings.
func TestRegistrarClient(t *testing.T) {
	r, c := newRegistrar(signing.BackendOIDCSAToken)
	noop := cluster.ControllerClient(withStatus{cluster.NoopControllerClient{}, r.status})
	if got := r.want(t, "another backend"); got != noop {
		t.Errorf("another backend: got %T", got)
	}
	c.set(signing.BackendSPIRE, func(s *settings.SPIRE) { s.Entries = settings.EntriesNone })
	if got := r.want(t, "entries none"); got != noop {
		t.Errorf("entries none: got %T", got)
	}
	c.set(signing.BackendSPIRE, nil)
	if _, err := r.Client(); err == nil || !strings.Contains(err.Error(), "check the agent and the CSI driver") {
		t.Errorf("before the agent answered: got %v", err)
	}
	r.identify(t, newAuthority(t, "other.test"))
	if _, err := r.Client(); err == nil || !strings.Contains(err.Error(), `expected trust domain "lab.test"`) ||
		!strings.Contains(err.Error(), `got an SVID of "other.test": correct spire-trust-domain`) {
		t.Errorf("another trust domain: got %v", err)
	}
	r.identify(t, newAuthority(t, testDomain))
	first := r.want(t, "ready")
	if again := r.want(t, "again"); again != first {
		t.Error("expected one client while nothing changes")
	}
	c.set(signing.BackendSPIRE, func(s *settings.SPIRE) { s.ServerAddr = "other:8081" })
	second := r.want(t, "another address")
	if second == first {
		t.Error("expected another client for another address")
	}
	c.set(signing.BackendOIDCSAToken, nil)
	if got := r.want(t, "the backend was left"); got != second {
		t.Error("expected the last client after the backend was left, so that registrations can be ended")
	}
}

// TestRegistrarTrust adds the authorities to those of the cluster.
func TestRegistrarTrust(t *testing.T) {
	r, c := newRegistrar(signing.BackendOIDCSAToken)
	r.identify(t, newAuthority(t, testDomain))
	var got trust.Cluster
	r.Trust(&got)
	if got.TrustDomain != "" || got.Domains != nil {
		t.Errorf("another backend: got %q, %v", got.TrustDomain, got.Domains)
	}
	c.set(signing.BackendSPIRE, nil)
	r.Trust(&got)
	if got.TrustDomain != testDomain || len(got.Domains) != 1 || got.Domains[0].Federated {
		t.Errorf("expected the trust domain's own authority, got %q, %v", got.TrustDomain, got.Domains)
	}
	c.set(signing.BackendSPIRE, func(s *settings.SPIRE) { s.TrustDomain = "corrected.test" })
	r.Trust(&got)
	if got.TrustDomain != "corrected.test" || !got.Domains[0].Federated {
		t.Errorf("a wrong trust domain must not name the agent's authorities as its own, got %v", got.Domains)
	}
}

// TestRegistrarFederated: the authorities of federated trust domains are apart from those that are kept.
func TestRegistrarFederated(t *testing.T) {
	r, c := newRegistrar(signing.BackendSPIRE)
	own, foreign := newAuthority(t, testDomain), newAuthority(t, "foreign.test")
	r.identity.OnX509ContextUpdate(&workloadapi.X509Context{
		SVIDs: []*x509svid.SVID{own.svid(t, adminPath)}, Bundles: x509bundle.NewSet(own.bundle(), foreign.bundle()),
	})
	var got trust.Cluster
	r.Federated(&got)
	if diff := gocmp.Diff(bundleOf(foreign, true), got.Domains); diff != "" {
		t.Errorf("federated authorities (-want +got):\n%s", diff)
	}
	r.Trust(&got)
	if diff := gocmp.Diff(bundleOf(own, false), got.Domains); diff != "" {
		t.Errorf("authorities that are kept (-want +got):\n%s", diff)
	}
	c.set(signing.BackendOIDCSAToken, nil)
	var none trust.Cluster
	r.Federated(&none)
	if none.Domains != nil {
		t.Errorf("another backend: got %v", none.Domains)
	}
}

// TestRegistrarRun follows the agent only while the backend is spire.
func TestRegistrarRun(t *testing.T) {
	r, c := newRegistrar(signing.BackendOIDCSAToken)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { r.Run(ctx); close(ended) }()
	asked := func() bool { return strings.Contains(r.identity.Err().Error(), "asking SPIRE's agent on this node") }
	time.Sleep(100 * time.Millisecond)
	if asked() {
		t.Error("the agent was asked although the backend is another one")
	}
	c.set(signing.BackendSPIRE, nil)
	r.SettingsChanged()
	r.SettingsChanged() // does not block
	wantEventually(t, "the agent to be asked", asked)
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("Run did not end with its context")
	}
}
