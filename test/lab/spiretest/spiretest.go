// SPDX-License-Identifier: Apache-2.0

// Package spiretest is the SPIRE of the lab for tests: what fails, fails the test, and what a test makes goes with it.
//
//	s := spiretest.Add(t, lab.SPIREOptions{})
//	s.CreateEntry(t, spire.Entry{SPIFFEID: s.ID("/ns/default/pod"), Selectors: []string{"k8s:ns:default"}})
//	fetched := s.Fetch(t, "default", "default")
//	s.Agent.Restart(t.Context())
package spiretest

import (
	"context"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
)

// SPIRE is the one of the lab. Its Server, Foreign, Agent and CSIDriver can be stopped, started and restarted.
type SPIRE struct {
	*spire.Deployment
}

// Add adds SPIRE to the lab that the environment names, which is up. It stays there for the next test.
func Add(t testing.TB, options lab.SPIREOptions) *SPIRE {
	t.Helper()
	l, err := lab.Open(lab.Options{Progress: t.Output()})
	must(t, err)
	return AddTo(t, l, options)
}

// AddTo adds SPIRE to a lab that is up.
func AddTo(t testing.TB, l *lab.Lab, options lab.SPIREOptions) *SPIRE {
	t.Helper()
	d, err := l.AddSPIRE(context.WithoutCancel(t.Context()), options)
	must(t, err)
	return &SPIRE{d}
}

// Replace is Add where SPIRE may run with another configuration: that one goes, with its entries and authorities.
func Replace(t testing.TB, options lab.SPIREOptions) *SPIRE {
	t.Helper()
	l, err := lab.Open(lab.Options{Progress: t.Output()})
	must(t, err)
	must(t, l.Remove(t.Context(), lab.SPIRE))
	return AddTo(t, l, options)
}

// TrustDomain is the lab's own.
func (s *SPIRE) TrustDomain() spiffeid.TrustDomain { return s.Server.TrustDomain }

// ID is a SPIFFE ID of the lab's trust domain.
func (s *SPIRE) ID(path string) spiffeid.ID { return spiffeid.RequireFromPath(s.TrustDomain(), path) }

// CreateEntry registers an entry until the test ends, and returns its ID. Without a parent it reaches all agents.
func (s *SPIRE) CreateEntry(t testing.TB, entry spire.Entry) (id string) {
	t.Helper()
	if entry.Parent.IsZero() {
		entry.Parent = spire.NodeAlias()
	}
	id, err := s.Server.CreateEntry(t.Context(), entry)
	must(t, err)
	t.Cleanup(func() {
		for _, e := range s.entries(context.Background(), t) {
			if e.ID == id {
				must(t, s.Server.DeleteEntry(context.Background(), id))
			}
		}
	})
	return id
}

// DeleteEntry deletes an entry.
func (s *SPIRE) DeleteEntry(t testing.TB, id string) {
	t.Helper()
	must(t, s.Server.DeleteEntry(t.Context(), id))
}

// UpdateEntry gives the entry with the ID the rest of entry.
func (s *SPIRE) UpdateEntry(t testing.TB, entry spire.Entry) {
	t.Helper()
	must(t, s.Server.UpdateEntry(t.Context(), entry))
}

// Entries lists all entries.
func (s *SPIRE) Entries(t testing.TB) []spire.Entry {
	t.Helper()
	return s.entries(t.Context(), t)
}

func (s *SPIRE) entries(ctx context.Context, t testing.TB) []spire.Entry {
	t.Helper()
	all, err := s.Server.Entries(ctx)
	must(t, err)
	return all
}

// Bundle is the server's bundle.
func (s *SPIRE) Bundle(t testing.TB) *spiffebundle.Bundle {
	t.Helper()
	bundle, err := s.Server.Bundle(t.Context())
	must(t, err)
	return bundle
}

// Fetch runs a pod that gets an SVID from the Workload API.
func (s *SPIRE) Fetch(t testing.TB, namespace, account string) spire.Fetched {
	t.Helper()
	fetched, err := s.Deployment.Fetch(t.Context(), namespace, account)
	must(t, err)
	return fetched
}

// Mint has a server issue an SVID for any ID of its trust domain, without an entry.
func Mint(t testing.TB, server *spire.Server, id spiffeid.ID, ttl time.Duration) *x509svid.SVID {
	t.Helper()
	svid, err := server.Mint(t.Context(), id, ttl)
	must(t, err)
	return svid
}

// RestartServer replaces the server's pod.
func (s *SPIRE) RestartServer(t testing.TB) { t.Helper(); must(t, s.Server.Restart(t.Context())) }

// RestartAgent replaces the agent's pod.
func (s *SPIRE) RestartAgent(t testing.TB) { t.Helper(); must(t, s.Agent.Restart(t.Context())) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
