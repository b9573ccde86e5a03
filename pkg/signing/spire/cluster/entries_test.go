// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	spiretypes "github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"google.golang.org/grpc/codes"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
)

// noon is the time at which the tests register TaskRuns.
func noon() time.Time { return time.Date(2026, 6, 2, 12, 0, 0, 0, time.UTC) }

// client returns a client of the server with the identity of the admin.
func (s *server) client(t *testing.T, change func(*EntriesOptions)) *Entries {
	t.Helper()
	o := EntriesOptions{
		Address: s.address, ServerID: "spiffe://" + testDomain + "/spire/server", TrustDomain: testDomain,
		Alias: "/tekton-node/", SVIDs: s.authority.svid(t, adminPath), Bundles: s.authority.bundle(), Now: noon,
	}
	if change != nil {
		change(&o)
	}
	e, err := NewEntries(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func taskRun(name, uid, account string) *v1.TaskRun {
	return &v1.TaskRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name, UID: types.UID(uid)},
		Spec:       v1.TaskRunSpec{ServiceAccountName: account},
	}
}

func (e *Entries) create(t *testing.T, tr *v1.TaskRun, ttl time.Duration) {
	t.Helper()
	if err := e.CreateEntries(t.Context(), tr, nil, ttl); err != nil {
		t.Fatal(err)
	}
}

const alias = "tekton-sign.agents.lab /tekton-node/lab < /spire/server k8s_psat:cluster:lab"

func entry(name, uid, account, until string) string {
	return "tekton-sign.taskrun." + uid + " /ns/ci/taskrun/" + name + " < /tekton-node/lab k8s:ns:ci k8s:sa:" + account +
		" k8s:pod-owner-uid:TaskRun:" + uid + " until " + until + " on demand"
}

func (s *server) wantEntries(t *testing.T, want ...string) {
	t.Helper()
	if diff := gocmp.Diff(want, s.shown()); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// TestEntries registers TaskRuns and ends the registrations.
func TestEntries(t *testing.T) {
	s := newServer(t, "/spire/server")
	e := s.client(t, nil)
	build, push := taskRun("build", "u1", "builder"), taskRun("push", "u2", "")
	e.create(t, build, time.Hour)
	e.create(t, push, 2*time.Hour)
	first, second := entry("build", "u1", "builder", "13:00:00"), entry("push", "u2", "default", "14:00:00")
	s.wantEntries(t, alias, first, second)

	e.create(t, build, time.Hour)
	e.create(t, push, time.Hour) // lasts longer already
	s.wantEntries(t, alias, first, second)
	if got := s.calls["entry.v1.Entry/BatchUpdateEntry"]; got != 0 {
		t.Errorf("expected no update of what lasts, got %d", got)
	}
	e.create(t, build, 3*time.Hour)
	s.wantEntries(t, alias, entry("build", "u1", "builder", "15:00:00"), second)

	for range 2 { // the second time, there is none
		if err := e.DeleteEntry(t.Context(), taskRun("", "u1", ""), nil); err != nil {
			t.Fatal(err)
		}
		s.wantEntries(t, alias, second)
	}
	if got := s.calls["agent.v1.Agent/ListAgents"]; got != 1 {
		t.Errorf("expected the agents to be listed once, got %d", got)
	}
	another := s.client(t, nil) // after a restart
	another.create(t, push, time.Hour)
	s.wantEntries(t, alias, second)
}

// TestEntriesOfOthers leaves the entry alone that an operator made for the same pods.
func TestEntriesOfOthers(t *testing.T) {
	s := newServer(t, "/spire/server")
	e := s.client(t, nil)
	e.create(t, taskRun("build", "u1", "builder"), time.Hour)
	s.entries[1].Id, s.entries[1].ExpiresAt = "by-hand", noon().Unix()
	e.create(t, taskRun("build", "u1", "builder"), time.Hour)
	got := s.shown()
	if len(got) != 2 || !strings.HasPrefix(got[1], "by-hand ") || !strings.Contains(got[1], "until 12:00:00") {
		t.Errorf("expected the operator's entry as it was, got %v", got)
	}
}

// TestListEntries reads all pages, and only what is the add-on's.
func TestListEntries(t *testing.T) {
	s := newServer(t, "/spire/server")
	e := s.client(t, nil)
	list := func() []cluster.Registered {
		got := []cluster.Registered{}
		if err := e.ListEntries(t.Context(), func(r cluster.Registered) { got = append(got, r) }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := list(); len(got) != 0 {
		t.Errorf("expected nothing before the first TaskRun, got %v", got)
	}
	want := []cluster.Registered{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		e.create(t, taskRun(name, "uid-"+name, ""), time.Hour)
		want = append(want, cluster.Registered{Namespace: "ci", Name: name, UID: types.UID("uid-" + name)})
	}
	other := func(id, path, parent string) {
		s.entries = append(s.entries, &spiretypes.Entry{Id: id, SpiffeId: e.id(path), ParentId: e.id(parent)})
	}
	other("by-hand", "/ns/ci/taskrun/x", "/tekton-node/lab")
	other(entryPrefix+"u", "/ns/ci/sa/x", "/tekton-node/lab")
	other(entryPrefix+"v", "/ns/ci/taskrun/x", "/tekton-node/other")
	if diff := gocmp.Diff(want, list()); diff != "" {
		t.Errorf("registered TaskRuns (-want +got):\n%s", diff)
	}
}

// TestAliasDeleted registers the alias again that somebody deleted.
func TestAliasDeleted(t *testing.T) {
	s := newServer(t, "/spire/server")
	e := s.client(t, nil)
	e.create(t, taskRun("build", "u1", ""), time.Hour)
	s.entries = nil
	err := e.ListEntries(t.Context(), func(r cluster.Registered) { t.Errorf("expected no TaskRun, got %v", r) })
	if err != nil {
		t.Fatal(err)
	}
	s.wantEntries(t, alias)
}

// TestCluster finds the cluster's name.
func TestCluster(t *testing.T) {
	const psat = "/spire/agent/k8s_psat/"
	for name, tc := range map[string]struct {
		agents []string
		named  string
		want   string // a part of the error, or of the entries
	}{
		"one cluster": {agents: []string{psat + "a/1", psat + "a/2", psat + "a/3"}, want: "/tekton-node/a "},
		"named":       {agents: []string{psat + "a/1", psat + "b/1"}, named: "b", want: "/tekton-node/b "},
		"several clusters": {
			agents: []string{psat + "b/1", psat + "a/1", psat + "b/2"},
			want:   "2 clusters (a, b): name this one (enable spire --spire-cluster",
		},
		"no agent":     {want: "no agent that was attested by k8s_psat"},
		"other agents": {agents: []string{"/spire/agent/join_token/x"}, want: "no agent that was attested by k8s_psat"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, "/spire/server")
			s.agents = tc.agents
			e := s.client(t, func(o *EntriesOptions) { o.Cluster = tc.named })
			err := e.CreateEntries(t.Context(), taskRun("build", "u1", ""), nil, time.Hour)
			got := strings.Join(s.shown(), "\n")
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tc.want) {
				t.Errorf("expected %q, got %s", tc.want, got)
			}
		})
	}
}

// noSVID is an identity that has not come yet.
type noSVID struct{}

func (noSVID) GetX509SVID() (*x509svid.SVID, error) { return nil, errors.New("no identity yet") }

// calls are the methods with their names in errors.
func calls() map[string]func(context.Context, *Entries) error {
	return map[string]func(context.Context, *Entries) error{
		"create": func(ctx context.Context, e *Entries) error {
			return e.CreateEntries(ctx, taskRun("build", "u1", ""), nil, time.Hour)
		},
		"delete": func(ctx context.Context, e *Entries) error { return e.DeleteEntry(ctx, taskRun("", "u1", ""), nil) },
		"list": func(ctx context.Context, e *Entries) error {
			return e.ListEntries(ctx, func(cluster.Registered) {})
		},
	}
}

// TestRefused names the next step when the server cannot be used.
func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		server string // path of its SPIFFE ID
		change func(*testing.T, *server, *EntriesOptions)
		want   string
	}{
		"not admitted": {change: func(t *testing.T, s *server, o *EntriesOptions) {
			o.SVIDs = s.authority.svid(t, "/other")
		}, want: "does not admit the add-on: register spiffe://lab.test/other with -admin"},
		"an SVID of another authority": {change: func(t *testing.T, _ *server, o *EntriesOptions) {
			o.SVIDs = newAuthority(t, testDomain).svid(t, adminPath)
		}, want: "cannot be reached: check the server"},
		"no SVID yet": {change: func(_ *testing.T, _ *server, o *EntriesOptions) { o.SVIDs = noSVID{} },
			want: "no identity yet"},
		"unreachable": {change: func(_ *testing.T, _ *server, o *EntriesOptions) { o.Address = "127.0.0.1:1" },
			want: "at 127.0.0.1:1 cannot be reached: check the server, spire-server-addr in ConfigMap config-spire"},
		"another server": {server: "/spire/agent/k8s_psat/lab/x", want: "spiffe://lab.test/spire/server at"},
		"a server of another authority": {change: func(t *testing.T, _ *server, o *EntriesOptions) {
			o.Bundles = newAuthority(t, testDomain).bundle()
		}, want: "cannot be reached"},
		"a server of another trust domain": {change: func(t *testing.T, _ *server, o *EntriesOptions) {
			o.Bundles = newAuthority(t, "other.test").bundle()
		}, want: "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/spire/server"
			if tc.server != "" {
				path = tc.server
			}
			s := newServer(t, path)
			e := s.client(t, func(o *EntriesOptions) {
				if tc.change != nil {
					tc.change(t, s, o)
				}
			})
			for call, f := range calls() {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				err := f(ctx, e)
				cancel()
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: expected an error with %q, got %v", call, tc.want, err)
				}
			}
			s.wantEntries(t)
		})
	}
}

// TestEntryStatus returns what the server answers about one entry.
func TestEntryStatus(t *testing.T) {
	s := newServer(t, "/spire/server")
	e := s.client(t, nil)
	e.create(t, taskRun("build", "u1", ""), time.Hour)
	s.status = codes.Internal
	for call, f := range map[string]func() error{
		"creating": func() error { return e.CreateEntries(t.Context(), taskRun("push", "u2", ""), nil, time.Hour) },
		"changing": func() error { return e.CreateEntries(t.Context(), taskRun("build", "u1", ""), nil, 2*time.Hour) },
		"deleting": func() error { return e.DeleteEntry(t.Context(), taskRun("build", "u1", ""), nil) },
	} {
		err := f()
		for _, want := range []string{call + " entry tekton-sign.taskrun.u", "Internal", "as the test wants"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: expected an error with %q, got %v", call, want, err)
			}
		}
	}
	s.wantEntries(t, alias, entry("build", "u1", "default", "13:00:00"))
}

// TestExtendGone returns an error if the entry goes between two calls, so that it is created again.
func TestExtendGone(t *testing.T) {
	s := newServer(t, "/spire/server")
	e := s.client(t, nil)
	err := e.update(t.Context(), &spiretypes.Entry{Id: entryPrefix + "u1"}, &spiretypes.EntryMask{ExpiresAt: true})
	if err == nil || !strings.Contains(err.Error(), "NotFound") {
		t.Errorf("expected NotFound, got %v", err)
	}
}

func TestNewEntriesRefuses(t *testing.T) {
	if _, err := NewEntries(EntriesOptions{ServerID: "lab.test/spire/server"}); err == nil ||
		!strings.Contains(err.Error(), "SPIFFE ID of SPIRE's server") {
		t.Errorf("expected the server's ID to be refused, got %v", err)
	}
}

// TestConcurrentEntries registers many TaskRuns at once.
func TestConcurrentEntries(t *testing.T) {
	s := newServer(t, "/spire/server")
	e := s.client(t, nil)
	failed := make(chan error)
	const n = 50
	for i := range n {
		go func() {
			name := "t" + string(rune('A'+i))
			failed <- e.CreateEntries(t.Context(), taskRun(name, name, ""), nil, time.Hour)
		}()
	}
	for range n {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	got := s.shown()
	slices.Sort(got)
	if len(slices.Compact(got)) != n+1 {
		t.Errorf("expected %d entries and the alias, got %d", n, len(got))
	}
}
