// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	spiretypes "github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
)

// EntriesOptions describe SPIRE's server and what the add-on registers there.
type EntriesOptions struct {
	Address     string // host:port of the server
	ServerID    string // SPIFFE ID that the server must have
	TrustDomain string
	// Alias is the path of the SPIFFE ID that stands for the cluster's agents, without the cluster's name.
	Alias   string
	Cluster string // name of the cluster in the k8s_psat attestation; empty: the only one that agents have
	SVIDs   x509svid.Source
	Bundles x509bundle.Source
	Now     func() time.Time
}

// Entries registers TaskRuns by SPIRE's entry API, with the add-on's own SVID, which must be that of an admin.
// It is safe for concurrent use.
type Entries struct {
	options EntriesOptions
	conn    *grpc.ClientConn
	entries entryv1.EntryClient
	agents  agentv1.AgentClient

	turn   chan struct{}        // holds one element while somebody uses parent: a caller waits no longer than its context
	parent *spiretypes.SPIFFEID // of all entries; nil before it is registered
}

var _ cluster.EntryClient = (*Entries)(nil)

// entryPrefix begins the IDs of the add-on's entries. The UID of the TaskRun follows.
const entryPrefix = "tekton-sign.taskrun."

// aliasPrefix begins the ID of the entry that stands for the agents of a cluster. The cluster's name follows.
const aliasPrefix = "tekton-sign.agents."

// NewEntries returns a client. It connects when it is first used.
func NewEntries(o EntriesOptions) (*Entries, error) {
	server, err := spiffeid.FromString(o.ServerID)
	if err != nil {
		return nil, fmt.Errorf("the SPIFFE ID of SPIRE's server: %w", err)
	}
	tls := tlsconfig.MTLSClientConfig(o.SVIDs, o.Bundles, tlsconfig.AuthorizeID(server))
	conn, err := grpc.NewClient(o.Address, grpc.WithTransportCredentials(credentials.NewTLS(tls)), grpc.WithNoProxy(),
		grpc.WithUnaryInterceptor(inTime))
	if err != nil {
		return nil, fmt.Errorf("connecting to SPIRE's server at %s: %w", o.Address, err)
	}
	return &Entries{
		options: o, conn: conn, entries: entryv1.NewEntryClient(conn), agents: agentv1.NewAgentClient(conn),
		turn: make(chan struct{}, 1),
	}, nil
}

// callTimeout bounds each call: a server that accepts connections may never answer.
const callTimeout = 10 * time.Second

// inTime makes a call with callTimeout.
func inTime(ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, call grpc.UnaryInvoker,
	options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return call(ctx, method, request, answer, conn, options...)
}

// Close closes the connection.
func (e *Entries) Close() error { return e.conn.Close() }

// CreateEntries registers a TaskRun before its pod exists: an entry reaches an agent only after some seconds,
// and a step can be shorter. The selectors are those of every pod of this TaskRun, of retries too. Where
// someone else may create pods that name the TaskRun as their owner, these get its SVID as well: the strict
// admission policies refuse such pods.
func (e *Entries) CreateEntries(ctx context.Context, tr *v1.TaskRun, _ *corev1.Pod, ttl time.Duration) error {
	parent, err := e.registerAlias(ctx)
	if err != nil {
		return err
	}
	return e.put(ctx, e.entryOf(tr, parent, ttl))
}

// entryOf returns the entry of a TaskRun. Every agent of the cluster gets it, so agents must not have SVIDs
// issued before a pod asks.
func (e *Entries) entryOf(tr *v1.TaskRun, parent *spiretypes.SPIFFEID, ttl time.Duration) *spiretypes.Entry {
	account := tr.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	return &spiretypes.Entry{
		Id:       entryPrefix + string(tr.UID),
		SpiffeId: e.id(spire.TaskRunPath(tr.Namespace, tr.Name)), ParentId: parent,
		Selectors:            selectors("k8s", "ns:"+tr.Namespace, "sa:"+account, "pod-owner-uid:TaskRun:"+string(tr.UID)),
		ExpiresAt:            e.options.Now().Add(ttl).Unix(),
		AdditionalAttributes: &spiretypes.Entry_AdditionalAttributes{DisableX509SvidPrefetch: true},
	}
}

// put creates an entry. If it exists, put extends it, or gives it the parent and the selectors of now.
func (e *Entries) put(ctx context.Context, entry *spiretypes.Entry) error {
	answer, err := e.entries.BatchCreateEntry(ctx, &entryv1.BatchCreateEntryRequest{
		Entries: []*spiretypes.Entry{entry}, OutputMask: &spiretypes.EntryMask{ExpiresAt: true},
	})
	if err != nil {
		return e.refused("creating an entry", err)
	}
	if len(answer.Results) != 1 {
		return fmt.Errorf("creating an entry: expected one answer of SPIRE's server, got %d", len(answer.Results))
	}
	result := answer.Results[0]
	switch code(result.Status) {
	case codes.OK:
		return nil
	case codes.AlreadyExists:
		if result.Entry == nil { // the ID is taken, by an entry with another parent or for other agents
			return e.update(ctx, entry, &spiretypes.EntryMask{SpiffeId: true, ParentId: true, Selectors: true, ExpiresAt: true})
		}
		if result.Entry.Id != entry.Id || result.Entry.ExpiresAt >= entry.ExpiresAt {
			return nil // an operator's entry for the same pods, or one that lasts
		}
		return e.update(ctx, entry, &spiretypes.EntryMask{ExpiresAt: true})
	}
	return answered("creating", entry.Id, result.Status)
}

// update changes what the mask names of an entry.
func (e *Entries) update(ctx context.Context, entry *spiretypes.Entry, what *spiretypes.EntryMask) error {
	answer, err := e.entries.BatchUpdateEntry(ctx, &entryv1.BatchUpdateEntryRequest{
		Entries: []*spiretypes.Entry{entry}, InputMask: what, OutputMask: &spiretypes.EntryMask{},
	})
	if err != nil {
		return e.refused("changing an entry", err)
	}
	for _, r := range answer.Results {
		if c := code(r.Status); c != codes.OK { // if it has gone meanwhile, the next attempt creates it
			return answered("changing", entry.Id, r.Status)
		}
	}
	return nil
}

// DeleteEntry implements cluster.EntryClient.
func (e *Entries) DeleteEntry(ctx context.Context, tr *v1.TaskRun, _ *corev1.Pod) error {
	id := entryPrefix + string(tr.UID)
	answer, err := e.entries.BatchDeleteEntry(ctx, &entryv1.BatchDeleteEntryRequest{Ids: []string{id}})
	if err != nil {
		return e.refused("deleting an entry", err)
	}
	for _, r := range answer.Results {
		if c := code(r.Status); c != codes.OK && c != codes.NotFound {
			return answered("deleting", id, r.Status)
		}
	}
	return nil
}

// maxPages bounds how many pages are read.
const pageSize, maxPages = 500, 1000

// ListEntries implements cluster.EntryClient.
func (e *Entries) ListEntries(ctx context.Context, f func(cluster.Registered)) error {
	parent, err := e.registerAliasAgain(ctx)
	if err != nil {
		return err
	}
	return eachPage("entries of TaskRuns", func(token string) (string, error) {
		page, err := e.entries.ListEntries(ctx, &entryv1.ListEntriesRequest{
			Filter:     &entryv1.ListEntriesRequest_Filter{ByParentId: parent},
			OutputMask: &spiretypes.EntryMask{SpiffeId: true}, PageSize: pageSize, PageToken: token,
		})
		if err != nil {
			return "", e.refused("listing entries", err)
		}
		for _, entry := range page.Entries {
			if r, ok := registered(entry); ok {
				f(r)
			}
		}
		return page.NextPageToken, nil
	})
}

// eachPage calls read with the token of each page, the first one without. read returns the token of the next page.
func eachPage(what string, read func(token string) (next string, err error)) error {
	token := ""
	for range maxPages {
		var err error
		if token, err = read(token); err != nil || token == "" {
			return err
		}
	}
	return fmt.Errorf("SPIRE has more than %d %s", pageSize*maxPages, what)
}

// registered reads the TaskRun from an entry of the add-on.
func registered(entry *spiretypes.Entry) (cluster.Registered, bool) {
	uid, ours := strings.CutPrefix(entry.Id, entryPrefix)
	namespace, name, ok := spire.ParseTaskRunPath(entry.SpiffeId.GetPath())
	return cluster.Registered{Namespace: namespace, Name: name, UID: types.UID(uid)}, ours && ok
}

// registerAlias registers the SPIFFE ID that stands for the cluster's agents, the parent of all entries,
// because it is not known on which node a pod will run.
func (e *Entries) registerAlias(ctx context.Context) (*spiretypes.SPIFFEID, error) {
	if err := e.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer e.endTurn()
	if e.parent == nil {
		return e.putAlias(ctx)
	}
	return e.parent, nil
}

// registerAliasAgain does the same, also if someone has deleted the alias since, or SPIRE's database is a new one.
func (e *Entries) registerAliasAgain(ctx context.Context) (*spiretypes.SPIFFEID, error) {
	if err := e.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer e.endTurn()
	e.parent = nil
	return e.putAlias(ctx)
}

func (e *Entries) takeTurn(ctx context.Context) error {
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return e.refused("registering the agents", status.FromContextError(ctx.Err()).Err())
	}
}

func (e *Entries) endTurn() { <-e.turn }

// putAlias creates the entry of the agents.
func (e *Entries) putAlias(ctx context.Context) (*spiretypes.SPIFFEID, error) {
	name, err := e.clusterName(ctx)
	if err != nil {
		return nil, err
	}
	alias := &spiretypes.Entry{
		Id: aliasPrefix + name, SpiffeId: e.id(e.options.Alias + name), ParentId: e.id("/spire/server"),
		Selectors: selectors("k8s_psat", "cluster:"+name),
	}
	if err := e.put(ctx, alias); err != nil {
		return nil, err
	}
	e.parent = alias.SpiffeId
	return e.parent, nil
}

// clusterName returns the name of the cluster in the k8s_psat attestation.
func (e *Entries) clusterName(ctx context.Context) (string, error) {
	if e.options.Cluster != "" {
		return e.options.Cluster, nil
	}
	names := map[string]bool{}
	err := e.eachAgent(ctx, &spiretypes.AgentMask{}, func(cluster string, _ *spiretypes.Agent) { names[cluster] = true })
	if err != nil {
		return "", err
	}
	return onlyCluster(names)
}

func onlyCluster(names map[string]bool) (string, error) {
	all := make([]string, 0, len(names))
	for name := range names {
		all = append(all, name)
	}
	slices.Sort(all)
	switch len(all) {
	case 0:
		return "", errors.New("SPIRE has no agent that was attested by k8s_psat: " +
			"check the agents, or name the cluster (enable spire --spire-cluster NAME)")
	case 1:
		return all[0], nil
	}
	return "", fmt.Errorf("SPIRE has agents of %d clusters (%s): name this one (enable spire --spire-cluster NAME)",
		len(all), strings.Join(all, ", "))
}

func (e *Entries) id(path string) *spiretypes.SPIFFEID {
	return &spiretypes.SPIFFEID{TrustDomain: e.options.TrustDomain, Path: path}
}

// refused adds the next step to an error of the connection.
func (e *Entries) refused(doing string, err error) error {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unauthenticated:
		own := "its SVID"
		if svid, err := e.options.SVIDs.GetX509SVID(); err == nil {
			own = svid.ID.String()
		}
		return fmt.Errorf("%s: SPIRE's server does not admit the add-on: register %s with -admin: %w", doing, own, err)
	case codes.Unavailable, codes.DeadlineExceeded:
		return fmt.Errorf("%s: SPIRE's server %s at %s cannot be reached: check the server, spire-server-addr in ConfigMap "+
			"config-spire and --spire-server-id: %w", doing, e.options.ServerID, e.options.Address, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// answered is the error for an entry that SPIRE's server refused.
func answered(doing, id string, s *spiretypes.Status) error {
	return fmt.Errorf("%s entry %s: SPIRE's server answered %s: %s", doing, id, code(s), s.GetMessage())
}

func code(s *spiretypes.Status) codes.Code { return codes.Code(s.GetCode()) } // #nosec G115 -- codes are small

func selectors(kind string, values ...string) []*spiretypes.Selector {
	all := make([]*spiretypes.Selector, len(values))
	for i, value := range values {
		all[i] = &spiretypes.Selector{Type: kind, Value: value}
	}
	return all
}
