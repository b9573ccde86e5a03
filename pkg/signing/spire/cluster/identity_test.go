// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// workloadAPI is the Workload API of an agent. It sends what updates has, one after the other.
type workloadAPI struct {
	workload.UnimplementedSpiffeWorkloadAPIServer

	updates chan *workload.X509SVIDResponse
}

func (w *workloadAPI) FetchX509SVID(
	_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse],
) error {
	for {
		select {
		case <-stream.Context().Done():
			return nil
		case update := <-w.updates:
			if err := stream.Send(update); err != nil {
				return err
			}
		}
	}
}

// serve serves at a socket, until stop is called.
func (w *workloadAPI) serve(t *testing.T, socket string) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, w)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return server.Stop
}

// update is what an agent sends to the add-on. federated may be nil.
func update(t *testing.T, own, federated *authority) *workload.X509SVIDResponse {
	t.Helper()
	svid := own.svid(t, adminPath)
	key, err := x509.MarshalPKCS8PrivateKey(svid.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	u := &workload.X509SVIDResponse{
		Svids: []*workload.X509SVID{{
			SpiffeId: svid.ID.String(), X509Svid: svid.Certificates[0].Raw, X509SvidKey: key, Bundle: own.certificate.Raw,
		}},
		FederatedBundles: map[string][]byte{},
	}
	if federated != nil {
		u.FederatedBundles[federated.domain.IDString()] = federated.certificate.Raw
	}
	return u
}

// shortFolder returns a folder whose path leaves room for the name of a socket.
func shortFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "spire")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

func wantEventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("expected %s", what)
		}
	}
}

// TestIdentity follows an agent: before it answers, after a rotation, and while it is down.
func TestIdentity(t *testing.T) {
	changes := make(chan struct{}, 10)
	i := NewIdentity(func() { changes <- struct{}{} })
	if _, err := i.GetX509SVID(); err == nil || !strings.Contains(err.Error(), "has not answered yet: check the agent") {
		t.Errorf("SVID before the agent answered: got %v", err)
	}
	if _, err := i.GetX509BundleForTrustDomain(newAuthority(t, testDomain).domain); err == nil {
		t.Error("bundle before the agent answered: expected an error")
	}
	wantBundles(t, i, nil, nil)

	socket := filepath.Join(shortFolder(t), "agent.sock")
	up := strings.Repeat("../", strings.Count(SocketDir, "/")) // Follow looks in SocketDir
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- i.Follow(ctx, up+socket) }()
	wantEventually(t, "an error while the agent is down", func() bool {
		err := i.Err()
		return err != nil && strings.Contains(err.Error(), "asking SPIRE's agent on this node")
	})

	agent := &workloadAPI{updates: make(chan *workload.X509SVIDResponse, 1)}
	stop := agent.serve(t, socket)
	first, second, foreign := newAuthority(t, testDomain), newAuthority(t, testDomain), newAuthority(t, "foreign.test")
	agent.updates <- update(t, first, foreign)
	<-changes
	wantIdentity(t, i, first)
	wantBundles(t, i, bundleOf(first, false), bundleOf(foreign, true))
	agent.updates <- update(t, second, nil)
	<-changes
	wantIdentity(t, i, second)
	wantBundles(t, i, bundleOf(second, false), nil)

	stop()
	wantEventually(t, "an error after the agent was stopped", func() bool { return i.Err() != nil })
	wantIdentity(t, i, second) // it stays in use
	cancel()
	if err := <-ended; err != nil && ctx.Err() == nil {
		t.Errorf("following the agent: %v", err)
	}
}

func wantIdentity(t *testing.T, i *Identity, of *authority) {
	t.Helper()
	svid, err := i.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	if svid.ID.Path() != adminPath || svid.Certificates[0].CheckSignatureFrom(of.certificate) != nil {
		t.Errorf("got SVID %s of another authority", svid.ID)
	}
	bundle, err := i.GetX509BundleForTrustDomain(of.domain)
	if err != nil || !bundle.HasX509Authority(of.certificate) {
		t.Errorf("expected the bundle with the authority, got %v, %v", bundle, err)
	}
}

// bundleOf returns a list of one bundle.
func bundleOf(a *authority, federated bool) []trust.Domain {
	return []trust.Domain{{
		TrustDomain: a.domain.Name(), Federated: federated,
		X509Authorities: []trust.X509Authority{{DER: base64.StdEncoding.EncodeToString(a.certificate.Raw)}},
	}}
}

func wantBundles(t *testing.T, i *Identity, ours, federated []trust.Domain) {
	t.Helper()
	gotOurs, gotFederated := i.Bundles(testDomain)
	if diff := gocmp.Diff(ours, gotOurs); diff != "" {
		t.Errorf("own bundles (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(federated, gotFederated); diff != "" {
		t.Errorf("federated bundles (-want +got):\n%s", diff)
	}
}

// TestIdentityManyFederated: operators of federated trust domains cannot make the add-on read any number of
// authorities.
func TestIdentityManyFederated(t *testing.T) {
	own, foreign := newAuthority(t, testDomain), newAuthority(t, "foreign.test")
	bundles := []*x509bundle.Bundle{own.bundle()}
	for n := range maxFederated + 1 {
		bundle := x509bundle.New(spiffeid.RequireTrustDomainFromString(fmt.Sprintf("a%d.test", n)))
		bundle.AddX509Authority(foreign.certificate)
		bundles = append(bundles, bundle)
	}
	for range maxFederatedAuthorities + 1 { // of the first one
		bundles[1].AddX509Authority(newAuthority(t, "a0.test").certificate)
	}
	i := NewIdentity(func() {})
	i.OnX509ContextUpdate(&workloadapi.X509Context{
		SVIDs: []*x509svid.SVID{own.svid(t, adminPath)}, Bundles: x509bundle.NewSet(bundles...),
	})
	ours, federated := i.Bundles(testDomain)
	if diff := gocmp.Diff(bundleOf(own, false), ours); diff != "" {
		t.Errorf("own bundles (-want +got):\n%s", diff)
	}
	if len(federated) != maxFederated || len(federated[0].X509Authorities) != maxFederatedAuthorities {
		t.Errorf("got %d federated bundles, with %d authorities in the first one", len(federated),
			len(federated[0].X509Authorities))
	}
	if ours, _ = i.Bundles("mistyped.test"); len(ours) != 1 || !ours[0].Federated {
		t.Errorf("expected the authorities of SPIRE's own trust domain, as others', got %v", ours)
	}
}

// TestIdentityPrefers the SVID that is registered for the add-on to one that all pods of the cluster have.
func TestIdentityPrefers(t *testing.T) {
	a, i := newAuthority(t, testDomain), NewIdentity(func() {})
	every, own := a.svid(t, "/ns/tekton-sign/sa/controller"), a.svid(t, adminPath)
	for name, tc := range map[string]struct {
		svids []*x509svid.SVID
		want  *x509svid.SVID
	}{
		"own only": {[]*x509svid.SVID{own}, own},
		"own last": {[]*x509svid.SVID{every, own}, own},
		"none":     {[]*x509svid.SVID{every, a.svid(t, "/x")}, every},
	} {
		i.OnX509ContextUpdate(&workloadapi.X509Context{SVIDs: tc.svids, Bundles: x509bundle.NewSet(a.bundle())})
		if got, err := i.GetX509SVID(); err != nil || got != tc.want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}
