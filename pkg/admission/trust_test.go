// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// testCluster is a cluster with one key.
func testCluster() *trust.Cluster {
	return &trust.Cluster{UID: podUID, ServiceAccountIssuers: []trust.Issuer{{
		Issuer: "https://issuer.example",
		Keys: []trust.IssuerKey{{JWK: trust.JWK{
			KeyType: "EC", KeyID: "one", Algorithm: "ES256", Curve: "P-256",
			X: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", Y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
		}}},
	}}}
}

// nobody answers no question about tokens.
var nobody verify.Reviewer

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return testNow().Add(time.Duration(c.at.Load())) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func TestTrustAsksAtMostOnceInAWhile(t *testing.T) {
	var calls atomic.Int32
	c := &clock{}
	trusted := NewTrust(func(context.Context) (*trust.Cluster, error) {
		calls.Add(1)
		return testCluster(), nil
	}, nobody, c.now, quiet())
	if trusted.Ready() {
		t.Error("ready before any key was read")
	}
	for range 3 {
		_ = trusted.refreshOnDemand(t.Context())
	}
	if got := calls.Load(); got != 1 || !trusted.Ready() {
		t.Errorf("got %d reads and ready %v, want 1 and true", got, trusted.Ready())
	}
	c.advance(refreshPause)
	if err := trusted.refreshOnDemand(t.Context()); err != nil || calls.Load() != 2 {
		t.Errorf("after the pause: got %v and %d reads, want a second one", err, calls.Load())
	}
}

func TestTrustAsksOnceForAllWhoWait(t *testing.T) {
	var calls atomic.Int32
	release := make(chan struct{})
	trusted := NewTrust(func(context.Context) (*trust.Cluster, error) {
		calls.Add(1)
		<-release
		return testCluster(), nil
	}, nobody, (&clock{}).now, quiet())
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() { _ = trusted.refreshOnDemand(t.Context()) })
	}
	for calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wait.Wait()
	if got := calls.Load(); got != 1 {
		t.Errorf("got %d reads for 20 who wait, want 1", got)
	}
}

func TestTrustKeepsItsKeysWhenReadingFails(t *testing.T) {
	var broken atomic.Bool
	c := &clock{}
	trusted := NewTrust(func(context.Context) (*trust.Cluster, error) {
		if broken.Load() {
			return nil, errors.New("connection refused")
		}
		return testCluster(), nil
	}, nobody, c.now, quiet())
	if err := trusted.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	if err := trusted.refresh(t.Context()); err == nil {
		t.Error("the failure was swallowed")
	}
	if _, err := trusted.verifiersFor(
		Rules{Tokens: verify.Tokens{Audience: "prefix", Lifetime: time.Minute}}); err != nil || !trusted.Ready() {
		t.Errorf("the keys were lost: %v", err)
	}
}

func TestTrustVerifierFollowsPrefixAndKeys(t *testing.T) {
	trusted := NewTrust(func(context.Context) (*trust.Cluster, error) { return testCluster(), nil }, nobody,
		(&clock{}).now, quiet())
	if _, err := trusted.verifiersFor(Rules{Tokens: verify.Tokens{Audience: "a", Lifetime: time.Minute}}); err == nil {
		t.Error("got a verifier without keys")
	}
	if err := trusted.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, err := trusted.verifiersFor(Rules{Tokens: verify.Tokens{Audience: "a", Lifetime: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := trusted.verifiersFor(
		Rules{Tokens: verify.Tokens{Audience: "a", Lifetime: time.Minute}}); again != first {
		t.Error("the verifier is built for every TaskRun")
	}
	if other, _ := trusted.verifiersFor(
		Rules{Tokens: verify.Tokens{Audience: "b", Lifetime: time.Minute}}); other == first {
		t.Error("another prefix has the same verifier")
	}
	second, _ := trusted.verifiersFor(Rules{Tokens: verify.Tokens{Audience: "a", Lifetime: time.Minute}})
	if err := trusted.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if third, _ := trusted.verifiersFor(
		Rules{Tokens: verify.Tokens{Audience: "a", Lifetime: time.Minute}}); third == second {
		t.Error("new keys have the old verifier")
	}
}
