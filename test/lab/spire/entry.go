// SPDX-License-Identifier: Apache-2.0

package spire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Entry is a registration entry: who gets which SPIFFE ID.
type Entry struct {
	// ID names the entry. Empty lets the server choose.
	ID        string
	SPIFFEID  spiffeid.ID
	Parent    spiffeid.ID // the agent, or an alias of agents; none for a Node
	Selectors []string    // such as "k8s:ns:default"
	Node      bool        // an alias of agents
	Admin     bool        // may use the server's API
	TTL       time.Duration
	ExpiresAt time.Time
	Hint      string
	// FederatesWith are the trust domains whose bundles the workload gets, too.
	FederatesWith []spiffeid.TrustDomain
}

func (e Entry) args(verb string) []string {
	args := []string{"entry", verb, "-output", "json", "-spiffeID", e.SPIFFEID.String()}
	if e.Node {
		args = append(args, "-node")
	} else {
		args = append(args, "-parentID", e.Parent.String())
	}
	for _, selector := range e.Selectors {
		args = append(args, "-selector", selector)
	}
	for _, domain := range e.FederatesWith {
		args = append(args, "-federatesWith", domain.IDString())
	}
	if e.Admin {
		args = append(args, "-admin")
	}
	if e.ID != "" {
		args = append(args, "-entryID", e.ID)
	}
	if e.TTL != 0 {
		args = append(args, "-x509SVIDTTL", strconv.Itoa(int(e.TTL.Seconds())))
	}
	if !e.ExpiresAt.IsZero() {
		args = append(args, "-entryExpiry", strconv.FormatInt(e.ExpiresAt.Unix(), 10))
	}
	if e.Hint != "" {
		args = append(args, "-hint", e.Hint)
	}
	return args
}

// CreateEntry registers an entry and returns its ID. Where a similar one exists, by SPIFFE ID, parent and selectors, it
// returns that one's. An agent learns of the entry within 10 s.
func (s *Server) CreateEntry(ctx context.Context, entry Entry) (id string, err error) {
	out, err := s.CLI(ctx, "", entry.args("create")...)
	var answer struct{ Results []entryResult }
	if decoded := json.Unmarshal(out, &answer); decoded != nil {
		return "", errors.Join(err, fmt.Errorf("create the entry of %s: %w", entry.SPIFFEID, decoded))
	}
	if len(answer.Results) != 1 {
		return "", errors.Join(err, fmt.Errorf("create the entry of %s: expected one result, got %s", entry.SPIFFEID, out))
	}
	switch result := answer.Results[0]; result.Status.Code {
	case codeOK:
		return result.Entry.ID, nil
	case codeAlreadyExists:
		return s.similar(ctx, entry)
	default:
		return "", fmt.Errorf("create the entry of %s: %s", entry.SPIFFEID, result.Status.Message)
	}
}

// similar finds what made the server refuse an entry: the command does not print it.
func (s *Server) similar(ctx context.Context, entry Entry) (id string, err error) {
	all, err := s.Entries(ctx)
	if err != nil {
		return "", err
	}
	if entry.Node {
		entry.Parent = s.ID()
	}
	for _, e := range all {
		if e.SPIFFEID == entry.SPIFFEID && e.Parent == entry.Parent && sameElements(e.Selectors, entry.Selectors) {
			return e.ID, nil
		}
	}
	return "", fmt.Errorf("entry of %s: the server has a similar one and does not list it", entry.SPIFFEID)
}

func sameElements(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// Codes of gRPC.
const (
	codeOK            = 0
	codeAlreadyExists = 6
)

type entryResult struct {
	Status struct {
		Code    int
		Message string
	}
	Entry entryJSON
}

// UpdateEntry gives the entry with the ID the rest of entry.
func (s *Server) UpdateEntry(ctx context.Context, entry Entry) error {
	_, err := s.CLI(ctx, "", entry.args("update")...)
	return err
}

// DeleteEntry removes the entry with an ID.
func (s *Server) DeleteEntry(ctx context.Context, id string) error {
	_, err := s.CLI(ctx, "", "entry", "delete", "-entryID", id)
	return err
}

// Entries lists all entries.
func (s *Server) Entries(ctx context.Context) ([]Entry, error) {
	out, err := s.CLI(ctx, "", "entry", "show", "-output", "json")
	if err != nil {
		return nil, err
	}
	var answer struct{ Entries []entryJSON }
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("list the entries: %w", err)
	}
	all := make([]Entry, 0, len(answer.Entries))
	for _, e := range answer.Entries {
		entry, err := e.entry()
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", e.ID, err)
		}
		all = append(all, entry)
	}
	return all, nil
}

// entryJSON is an entry as SPIRE's API has it, in the JSON form of its protocol buffers.
type entryJSON struct {
	ID       string `json:"id"`
	SPIFFEID idJSON `json:"spiffe_id"`
	ParentID idJSON `json:"parent_id"`
	Hint     string `json:"hint"`
	Admin    bool   `json:"admin"`
	TTL      int64  `json:"x509_svid_ttl"`
	Expires  int64  `json:"expires_at,string"`
	// FederatesWith are names of trust domains.
	FederatesWith []string `json:"federates_with"`
	Selectors     []struct{ Type, Value string }
}

type idJSON struct {
	TrustDomain string `json:"trust_domain"`
	Path        string `json:"path"`
}

func (i idJSON) id() (spiffeid.ID, error) {
	domain, err := spiffeid.TrustDomainFromString(i.TrustDomain)
	if err != nil {
		return spiffeid.ID{}, err
	}
	return spiffeid.FromPath(domain, i.Path)
}

func (e entryJSON) entry() (Entry, error) {
	id, err := e.SPIFFEID.id()
	parent, parentErr := e.ParentID.id()
	if err := errors.Join(err, parentErr); err != nil {
		return Entry{}, err
	}
	entry := Entry{
		ID: e.ID, SPIFFEID: id, Parent: parent, Admin: e.Admin, Hint: e.Hint, TTL: time.Duration(e.TTL) * time.Second,
	}
	// The server is the parent of aliases only.
	entry.Node = parent.Path() == "/spire/server"
	if e.Expires != 0 {
		entry.ExpiresAt = time.Unix(e.Expires, 0)
	}
	for _, selector := range e.Selectors {
		entry.Selectors = append(entry.Selectors, selector.Type+":"+selector.Value)
	}
	for _, name := range e.FederatesWith {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return Entry{}, err
		}
		entry.FederatesWith = append(entry.FederatesWith, domain)
	}
	return entry, nil
}
