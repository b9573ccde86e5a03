// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffegrpc/grpccredentials"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	spiretypes "github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	testDomain = "lab.test"
	adminPath  = "/tekton-sign/controller"
)

// authority issues SVIDs that are valid now.
type authority struct {
	domain      spiffeid.TrustDomain
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(t *testing.T, domain string) *authority {
	t.Helper()
	a := &authority{domain: spiffeid.RequireTrustDomainFromString(domain), key: newKey(t)}
	a.certificate = a.issue(t, &x509.Certificate{
		URIs: []*url.URL{a.domain.ID().URL()}, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) issue(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{Organization: []string{"SPIRE"}}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	template.BasicConstraintsValid = true
	parent := template
	if a.certificate != nil {
		parent = a.certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// svid returns a workload's SVID.
func (a *authority) svid(t *testing.T, path string) *x509svid.SVID {
	t.Helper()
	id, key := spiffeid.RequireFromPath(a.domain, path), newKey(t)
	leaf := a.issue(t, &x509.Certificate{
		URIs: []*url.URL{id.URL()}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key)
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{leaf}, PrivateKey: key}
}

func (a *authority) bundle() *x509bundle.Bundle {
	return x509bundle.FromX509Authorities(a.domain, []*x509.Certificate{a.certificate})
}

// server is a SPIRE server with its entry and agent API, as far as the add-on uses them. It admits the admin.
type server struct {
	entryv1.UnimplementedEntryServer
	agentv1.UnimplementedAgentServer

	authority *authority
	address   string
	agents    []string // paths of their SPIFFE IDs
	page      int      // entries in one answer at most
	status    codes.Code
	version   string               // of all agents
	expires   map[string]time.Time // SVIDs of agents
	banned    string               // path of an agent

	mu      sync.Mutex
	entries []*spiretypes.Entry
	calls   map[string]int
}

// newServer starts a server until the test ends. Its SPIFFE ID has this path.
func newServer(t *testing.T, path string) *server {
	t.Helper()
	s := &server{
		authority: newAuthority(t, testDomain), page: 2, calls: map[string]int{},
		agents: []string{"/spire/agent/k8s_psat/lab/node-1", "/spire/agent/k8s_psat/lab/node-2"},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	tls := grpccredentials.MTLSServerCredentials(s.authority.svid(t, path), s.authority.bundle(), tlsconfig.AuthorizeAny())
	serving := grpc.NewServer(grpc.Creds(tls), grpc.UnaryInterceptor(s.admit))
	entryv1.RegisterEntryServer(serving, s)
	agentv1.RegisterAgentServer(serving, s)
	go func() { _ = serving.Serve(listener) }()
	t.Cleanup(serving.Stop)
	return s
}

// admit refuses everyone but the admin.
func (s *server) admit(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler,
) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[info.FullMethod[len("/spire.api.server."):]]++
	if id, ok := grpccredentials.PeerIDFromContext(ctx); !ok || id.Path() != adminPath {
		return nil, status.Error(codes.PermissionDenied, "authorization denied for method")
	}
	return next(ctx, request)
}

func (s *server) answer() *spiretypes.Status {
	return &spiretypes.Status{Code: int32(s.status), Message: "as the test wants"}
}

// similar returns the entry for the same pods, as SPIRE looks for it.
func (s *server) similar(entry *spiretypes.Entry) *spiretypes.Entry {
	for _, e := range s.entries {
		if proto.Equal(e.SpiffeId, entry.SpiffeId) && proto.Equal(e.ParentId, entry.ParentId) &&
			slices.EqualFunc(e.Selectors, entry.Selectors, func(a, b *spiretypes.Selector) bool { return proto.Equal(a, b) }) {
			return e
		}
	}
	return nil
}

func (s *server) BatchCreateEntry(
	_ context.Context, request *entryv1.BatchCreateEntryRequest,
) (*entryv1.BatchCreateEntryResponse, error) {
	answer := &entryv1.BatchCreateEntryResponse{}
	for _, entry := range request.Entries {
		result := &entryv1.BatchCreateEntryResponse_Result{Status: s.answer(), Entry: entry}
		if old := s.similar(entry); old != nil {
			result.Status.Code = int32(codes.AlreadyExists)
			result.Entry = &spiretypes.Entry{Id: old.Id, ExpiresAt: old.ExpiresAt}
		} else if s.find(entry.Id) >= 0 { // the database refuses an ID twice
			result.Status.Code, result.Entry = int32(codes.AlreadyExists), nil
		} else if s.status == codes.OK {
			s.entries = append(s.entries, entry)
		}
		answer.Results = append(answer.Results, result)
	}
	return answer, nil
}

func (s *server) find(id string) int {
	return slices.IndexFunc(s.entries, func(e *spiretypes.Entry) bool { return e.Id == id })
}

func (s *server) BatchUpdateEntry(
	_ context.Context, request *entryv1.BatchUpdateEntryRequest,
) (*entryv1.BatchUpdateEntryResponse, error) {
	all := proto.Equal(request.InputMask,
		&spiretypes.EntryMask{SpiffeId: true, ParentId: true, Selectors: true, ExpiresAt: true})
	if !all && !proto.Equal(request.InputMask, &spiretypes.EntryMask{ExpiresAt: true}) {
		return nil, status.Errorf(codes.InvalidArgument, "expected the expiry, or all, got %v", request.InputMask)
	}
	answer := &entryv1.BatchUpdateEntryResponse{}
	for _, entry := range request.Entries {
		result := &entryv1.BatchUpdateEntryResponse_Result{Status: s.answer()}
		if i := s.find(entry.Id); i < 0 {
			result.Status.Code = int32(codes.NotFound)
		} else if s.status == codes.OK {
			old := s.entries[i]
			old.ExpiresAt = entry.ExpiresAt
			if all {
				old.SpiffeId, old.ParentId, old.Selectors = entry.SpiffeId, entry.ParentId, entry.Selectors
			}
		}
		answer.Results = append(answer.Results, result)
	}
	return answer, nil
}

func (s *server) BatchDeleteEntry(
	_ context.Context, request *entryv1.BatchDeleteEntryRequest,
) (*entryv1.BatchDeleteEntryResponse, error) {
	answer := &entryv1.BatchDeleteEntryResponse{}
	for _, id := range request.Ids {
		result := &entryv1.BatchDeleteEntryResponse_Result{Status: s.answer(), Id: id}
		if i := s.find(id); i < 0 {
			result.Status.Code = int32(codes.NotFound)
		} else if s.status == codes.OK {
			s.entries = slices.Delete(s.entries, i, i+1)
		}
		answer.Results = append(answer.Results, result)
	}
	return answer, nil
}

// pageOf returns the part of n items that a request asks for.
func (s *server) pageOf(token string, n int) (from, to int, next string, err error) {
	if from, err = strconv.Atoi(cmp.Or(token, "0")); err != nil {
		return 0, 0, "", status.Error(codes.InvalidArgument, "page token")
	}
	if to = min(from+s.page, n); to < n {
		next = strconv.Itoa(to)
	}
	return from, to, next, nil
}

func (s *server) ListEntries(
	_ context.Context, request *entryv1.ListEntriesRequest,
) (*entryv1.ListEntriesResponse, error) {
	var found []*spiretypes.Entry
	for _, e := range s.entries {
		if proto.Equal(e.ParentId, request.Filter.GetByParentId()) {
			found = append(found, &spiretypes.Entry{Id: e.Id, SpiffeId: e.SpiffeId})
		}
	}
	from, to, next, err := s.pageOf(request.PageToken, len(found))
	return &entryv1.ListEntriesResponse{Entries: found[from:to], NextPageToken: next}, err
}

func (s *server) ListAgents(
	_ context.Context, request *agentv1.ListAgentsRequest,
) (*agentv1.ListAgentsResponse, error) {
	from, to, next, err := s.pageOf(request.PageToken, len(s.agents))
	answer := &agentv1.ListAgentsResponse{NextPageToken: next}
	for _, path := range s.agents[from:to] {
		answer.Agents = append(answer.Agents, &spiretypes.Agent{
			Id: &spiretypes.SPIFFEID{TrustDomain: testDomain, Path: path}, AgentVersion: s.version,
			X509SvidExpiresAt: s.expires[path].Unix(), Banned: s.banned == path,
		})
	}
	return answer, err
}

// shown returns the server's entries as text: ID, SPIFFE ID, parent, expiry and selectors.
func (s *server) shown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, e := range s.entries {
		text := fmt.Sprintf("%s %s < %s", e.Id, e.SpiffeId.Path, e.ParentId.Path)
		for _, selector := range e.Selectors {
			text += " " + selector.Type + ":" + selector.Value
		}
		if e.ExpiresAt != 0 {
			text += " until " + time.Unix(e.ExpiresAt, 0).UTC().Format(time.TimeOnly)
		}
		if e.AdditionalAttributes.GetDisableX509SvidPrefetch() {
			text += " on demand"
		}
		all = append(all, text)
	}
	return all
}
