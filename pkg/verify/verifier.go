// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"fmt"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// DefaultClockSkew is how far the clocks of a cluster and of the verifier may be apart.
const DefaultClockSkew = 300 * time.Second

// DefaultTokenLifetime is the longest lifetime that a signing token may have; the admission policies allow no more.
const DefaultTokenLifetime = 600 * time.Second

// Verifier verifies TaskRuns of one cluster. It is immutable and safe for concurrent use.
type Verifier struct {
	cluster        ClusterRef
	keys           keyring
	spiffe         spiffe
	now            func() time.Time
	skew           time.Duration
	lifetime       time.Duration
	audiencePrefix string
	recorders      []string // subjects whose records are trusted

	minimumFormat    signing.Format
	minimumAssurance signing.Assurance
	allowUnrecorded  bool
	reviewer         TokenReviewer // nil unless a live cluster may be asked
	staleKeys        bool          // the keys may be older than what was signed
}

// Option changes a default of New.
type Option func(*Verifier)

// WithClock sets the clock; the default is time.Now.
func WithClock(now func() time.Time) Option { return func(v *Verifier) { v.now = now } }

// WithClockSkew sets how far clocks may be apart; the default is DefaultClockSkew.
func WithClockSkew(d time.Duration) Option { return func(v *Verifier) { v.skew = d } }

// WithAudiencePrefix sets the first part of signing audiences; the default is signing.AudiencePrefix.
func WithAudiencePrefix(prefix string) Option {
	return func(v *Verifier) { v.audiencePrefix = prefix }
}

// WithTokenLifetime sets the longest lifetime of a signing token, from iat to exp; the default is DefaultTokenLifetime.
func WithTokenLifetime(d time.Duration) Option { return func(v *Verifier) { v.lifetime = d } }

// WithStaleKeys is for keys that may be older than what was signed, as those of a running process are. That a key is of another
// issuer, or was retired, refutes nothing then: the cluster may have changed since. The key is missing (Result.MissingKey).
func WithStaleKeys() Option { return func(v *Verifier) { v.staleKeys = true } }

// New returns a verifier for the TaskRuns of cluster, which it does not keep. It is an error to pass an invalid cluster, a
// negative skew, a lifetime of zero, an empty prefix or an unknown minimum.
func New(cluster *trust.Cluster, options ...Option) (*Verifier, error) {
	if cluster == nil {
		return nil, fmt.Errorf("no cluster to trust: pass one of the trust bundle's clusters")
	}
	if err := cluster.Validate(); err != nil {
		return nil, fmt.Errorf("the trust bundle's cluster %s: %w", cluster, err)
	}
	keys, err := newKeyring(cluster)
	if err != nil {
		return nil, err
	}
	authorities, err := newSPIFFE(cluster)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		cluster:        ClusterRef{Name: cluster.Name, UID: cluster.UID},
		keys:           keys,
		spiffe:         authorities,
		now:            time.Now,
		skew:           DefaultClockSkew,
		lifetime:       DefaultTokenLifetime,
		audiencePrefix: signing.AudiencePrefix,
	}
	for _, r := range cluster.Recorders {
		v.recorders = append(v.recorders, r.Subject)
	}
	for _, option := range options {
		option(v)
	}
	switch {
	case v.skew < 0:
		return nil, fmt.Errorf("clock skew %s is negative", v.skew)
	case v.lifetime <= 0:
		return nil, fmt.Errorf("expected a token lifetime above zero, got %s", v.lifetime)
	case v.audiencePrefix == "":
		return nil, fmt.Errorf("the audience prefix is empty")
	}
	if err := v.checkMinimums(); err != nil {
		return nil, err
	}
	return v, nil
}

// TaskRun verifies one TaskRun. It never changes tr. When a key is missing, its ID is in Result.MissingKey, so that a
// caller with a stale bundle can fetch a new one and ask again.
func (v *Verifier) TaskRun(ctx context.Context, tr *v1.TaskRun, facts Facts) Result {
	j := &judge{v: v, tr: tr, facts: facts, now: v.now(), budget: facts.Budget}
	if j.budget == nil {
		j.budget = NewBudget()
	}
	j.run(ctx)
	return j.result()
}
