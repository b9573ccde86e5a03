// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
)

// TestServerThatNeverAnswers checks that a sweep that waits for SPIRE's server keeps no registration waiting for
// longer than its own time.
func TestServerThatNeverAnswers(t *testing.T) {
	s := newServer(t, "/spire/server")
	e := s.client(t, nil)
	s.mu.Lock() // every call waits
	sweep, end := context.WithCancel(t.Context())
	swept := make(chan error, 1)
	go func() { swept <- e.ListEntries(sweep, func(cluster.Registered) {}) }()
	time.Sleep(100 * time.Millisecond) // the sweep waits for its first answer

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	created := make(chan error, 1)
	go func() { created <- e.CreateEntries(ctx, taskRun("build", "u1", "builder"), nil, time.Hour) }()
	select {
	case err := <-created:
		if err == nil {
			t.Error("registered by a server that does not answer")
		}
	case <-time.After(5 * time.Second):
		t.Error("the registration waits for longer than its context lasts")
	}
	s.mu.Unlock()
	end()
	if err := <-swept; err == nil {
		t.Error("a server that never answers swept")
	}
}

// below returns an entry with another parent.
func below(entry, parent string) string { return strings.Replace(entry, "/tekton-node/lab", parent, 1) }

// TestAliasIsReplaced checks that the entry of the agents follows spire-node-alias-prefix.
func TestAliasIsReplaced(t *testing.T) {
	s := newServer(t, "/spire/server")
	s.client(t, nil).create(t, taskRun("build", "u1", "builder"), time.Hour)
	after := s.client(t, func(o *EntriesOptions) { o.Alias = "/nodes/" })
	after.create(t, taskRun("push", "u2", "builder"), time.Hour)
	after.create(t, taskRun("build", "u1", "builder"), time.Hour)
	s.wantEntries(t, "tekton-sign.agents.lab /nodes/lab < /spire/server k8s_psat:cluster:lab",
		below(entry("build", "u1", "builder", "13:00:00"), "/nodes/lab"),
		below(entry("push", "u2", "builder", "13:00:00"), "/nodes/lab"))
}
