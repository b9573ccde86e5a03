// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	kubefake "k8s.io/client-go/kubernetes/fake"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
)

// TestReport writes what the add-on sees: as an admin, as somebody else, without an SVID, and with another backend.
func TestReport(t *testing.T) {
	s := newServer(t, "/spire/server")
	s.agents = append(s.agents, "/spire/agent/k8s_psat/lab/node-3", "/spire/agent/k8s_psat/lab/node-4")
	s.version, s.banned = "1.15.3", s.agents[2]
	s.expires = map[string]time.Time{}
	for _, path := range s.agents[:3] {
		s.expires[path] = noon().Add(time.Hour)
	}
	r, c := newRegistrar(signing.BackendOIDCSAToken)
	kube := kubefake.NewClientset()
	if err := r.Report(t.Context(), kube.CoreV1()); err != nil || readBack(t, kube) != nil {
		t.Errorf("another backend: expected no report, got %v, %v", err, readBack(t, kube))
	}
	c.set(signing.BackendSPIRE, func(o *settings.SPIRE) { o.ServerAddr, o.NodeAliasPrefix = s.address, "/tekton-node/" })
	if err := r.Report(t.Context(), kube.CoreV1()); err == nil || !strings.Contains(readBack(t, kube).Error, "agent") {
		t.Errorf("no SVID: got %v, %+v", err, readBack(t, kube))
	}
	r.identify(t, s.authority)
	if err := r.Report(t.Context(), kube.CoreV1()); err != nil {
		t.Fatal(err)
	}
	got := readBack(t, kube)
	want := &Agents{Valid: 2, Expired: 1, Banned: 1, Versions: map[string]int{"1.15.3": 2}}
	if diff := gocmp.Diff(want, got.Agents); diff != "" || got.SPIFFEID != "spiffe://"+testDomain+adminPath ||
		got.Expires.IsZero() || got.Error != "" {
		t.Errorf("an admin: got %+v, agents (-want +got):\n%s", got, diff)
	}
}

// TestReportDenied notes that SPIRE's server does not let the add-on register TaskRuns.
func TestReportDenied(t *testing.T) {
	s := newServer(t, "/spire/server")
	r, c := newRegistrar(signing.BackendSPIRE)
	c.set(signing.BackendSPIRE, func(o *settings.SPIRE) { o.ServerAddr = s.address })
	kube := kubefake.NewClientset()
	r.identifyAs(t, s.authority, "/somebody")
	err := r.Report(t.Context(), kube.CoreV1())
	const next = "register spiffe://lab.test/somebody"
	if got := readBack(t, kube); err == nil || !got.Denied || !strings.Contains(got.Error, next) {
		t.Errorf("got %v, %+v", err, got)
	}
	c.set(signing.BackendSPIRE, func(o *settings.SPIRE) { o.Entries = settings.EntriesNone })
	if err := r.Report(t.Context(), kube.CoreV1()); err != nil || readBack(t, kube).Denied {
		t.Errorf("an add-on that registers nothing needs to be no admin, got %v", err)
	}
}

// readBack returns the report as status reads it.
func readBack(t *testing.T, kube *kubefake.Clientset) *Report {
	t.Helper()
	r, err := readReport(t.Context(), cluster.Target{Kube: kube})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
