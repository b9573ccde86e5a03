// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package spiretest

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
)

// TestNightlyHarness uses each part of the package in a lab of its own.
func TestNightlyHarness(t *testing.T) {
	t.Setenv(lab.NameVariable, "spiretest-self")
	l, err := lab.Open(lab.Options{Progress: t.Output()})
	must(t, err)
	t.Cleanup(func() { must(t, l.Down(context.Background())) })
	must(t, l.Up(t.Context()))
	s := Add(t, lab.SPIREOptions{})
	t.Run("entries", func(t *testing.T) { checkEntries(t, s) })
	if got := s.Entries(t); len(got) != len(spire.AdminEntries()) {
		t.Errorf("entries after the test: expected those of the operator, got %v", got)
	}
	t.Run("server down", func(t *testing.T) { checkServerDown(t, s) })
	t.Run("agent down", func(t *testing.T) { checkAgentDown(t, s) })
	t.Run("entry API", func(t *testing.T) { checkEntryAPI(t, s) })
	if other := Replace(t, lab.SPIREOptions{Config: spire.Federated}); other.Foreign == nil {
		t.Error("replaced by the configuration federated: expected a second server, got none")
	}
}

func checkEntries(t *testing.T, s *SPIRE) {
	t.Helper()
	id := s.ID("/ns/default/pod")
	first := s.CreateEntry(t, spire.Entry{SPIFFEID: id, Selectors: []string{"k8s:ns:default"}})
	has := func() bool {
		return slices.ContainsFunc(s.Entries(t), func(e spire.Entry) bool { return e.ID == first && e.SPIFFEID == id })
	}
	if !has() {
		t.Errorf("entries: expected %s among %v", first, s.Entries(t))
	}
	s.RestartServer(t)
	s.RestartAgent(t)
	if got, err := s.Fetch(t, "default", "default").ID(s.Bundle(t)); err != nil || got != id {
		t.Errorf("SVID: expected %s, got %s, %v", id, got, err)
	}
	s.DeleteEntry(t, first)
	if has() {
		t.Errorf("entries after deletion: expected no %s, got %v", first, s.Entries(t))
	}
	s.CreateEntry(t, spire.Entry{SPIFFEID: id, Selectors: []string{"k8s:ns:default"}})
}

func checkServerDown(t *testing.T, s *SPIRE) {
	t.Helper()
	must(t, s.Server.Stop(t.Context()))
	if _, err := net.DialTimeout("tcp", s.Server.Address, time.Second); err == nil {
		t.Errorf("stopped server: expected nothing at %s", s.Server.Address)
	}
	must(t, s.Server.Start(t.Context()))
	s.Bundle(t)
}

func checkAgentDown(t *testing.T, s *SPIRE) {
	t.Helper()
	must(t, s.Agent.Stop(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	_, err := s.Deployment.Fetch(ctx, "default", "default")
	if err == nil || !strings.Contains(err.Error(), "expected an SVID") {
		t.Errorf("fetch with the agent down: expected no SVID, got %v", err)
	}
	must(t, s.Agent.Start(t.Context()))
}

// checkEntryAPI connects to the server as the add-on's controller does.
func checkEntryAPI(t *testing.T, s *SPIRE) {
	t.Helper()
	svid := Mint(t, s.Server, spire.ControllerID(), time.Hour)
	config := tlsconfig.MTLSClientConfig(svid, s.Bundle(t), tlsconfig.AuthorizeID(s.Server.ID()))
	connection, err := tls.Dial("tcp", s.Server.Address, config)
	must(t, err)
	must(t, connection.Close())
}
