// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"fmt"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// DefaultClockSkew is how far the clocks of a cluster and of the verifier may be apart.
const DefaultClockSkew = 300 * time.Second

// Verifier verifies TaskRuns of one cluster. It is immutable and safe for concurrent use. The zero value is
// not valid: call New.
type Verifier struct {
	cluster ClusterRef
	readers map[signing.Backend]check.Reader
	status  []backends.StatusReader
	policy  check.Policy
	now     func() time.Time
	skew    time.Duration

	recordProof     func(token string, digest signing.Digest) (check.Proof, error)
	hasRecorder     bool // at least one account's records are trusted
	minimum         minimum
	allowUnrecorded bool
	receipts        bool
	recorder        string // the first subject whose records are trusted
}

// Option changes a default of New.
type Option func(*Verifier)

// WithClock sets the clock; the default is time.Now.
func WithClock(now func() time.Time) Option { return func(v *Verifier) { v.now = now } }

// WithClockSkew sets how far clocks may be apart; the default is DefaultClockSkew.
func WithClockSkew(d time.Duration) Option { return func(v *Verifier) { v.skew = d } }

// New returns a verifier for the TaskRuns of cluster, and keeps no reference to cluster. It returns an error
// for an invalid cluster, a negative skew, a lifetime of zero, an empty prefix or an unknown minimum.
func New(cluster *trust.Cluster, options ...Option) (*Verifier, error) {
	if cluster == nil {
		return nil, fmt.Errorf("no cluster to trust: pass one of the trust bundle's clusters")
	}
	if err := cluster.Validate(); err != nil {
		return nil, fmt.Errorf("the trust bundle's cluster %s: %w", cluster, err)
	}
	v := &Verifier{
		cluster: ClusterRef{Name: cluster.Name, UID: cluster.UID},
		policy:  check.Policy{Tokens: DefaultTokens()},
		now:     time.Now,
		skew:    DefaultClockSkew,
	}
	for _, option := range options {
		option(v)
	}
	if v.skew < 0 {
		return nil, fmt.Errorf("clock skew %s is negative", v.skew)
	}
	if err := v.setReaders(cluster); err != nil {
		return nil, err
	}
	if err := v.minimum.validate(); err != nil {
		return nil, err
	}
	return v, nil
}

// TaskRun verifies one TaskRun. It never changes tr. If a key is missing, its ID is in Result.MissingKey, so
// that a caller with a stale bundle can fetch a new one and verify again.
//
// It runs the stages in turn: record, status, read, place, identify, replay, conclude. Each adds what it found to the
// findings. A stage that needs what an earlier one could not provide is left out.
func (v *Verifier) TaskRun(ctx context.Context, tr *v1.TaskRun, facts Facts) Result {
	r := v.run(tr, facts)
	found := &findings{budget: r.budget}
	c := &conclusion{run: r, v: v, found: found}
	if tooEarly(r, found) || tooLong(r, found) || tooManySteps(r, found) || tooManyAttempts(r, found) {
		return c.result()
	}
	c.record = v.readRecord(ctx, r, found)
	v.checkStatus(ctx, r, found)
	steps, restored := readSteps(r, c.record, found)
	place := placement{run: r, found: found, steps: steps, record: c.record, receipts: v.receipts}
	place.livePod()
	switch {
	case c.record.provesReceipt():
		v.receipted(r, c.record, steps, found)
	case r.facts.Attempt != nil:
		c.attempt = v.receiptedAttempt(r, steps, found)
	case place.anyCarrier():
		c.units = place.cover()
	case c.record.stands():
		v.archived(r, c.record, steps, found)
	case !place.receivable():
		place.uncovered()
	}
	if place.receivable() && !c.record.stands() {
		c.receipt = v.receive(r, steps, found)
	}
	if len(c.units) > 0 {
		v.identify(ctx, r, restored, steps, c.units, found)
	}
	if len(c.units) > 0 || c.receipt != nil {
		v.replay(ctx, r, steps, c.units, c.record, found)
		outcome{r, found, steps, c.units}.check()
		found.proven = true
	}
	return c.result()
}

// tooEarly reports whether the TaskRun is not completed, and adds a check if so.
func tooEarly(r run, found *findings) bool {
	succeeded := r.tr.Status.GetCondition(apis.ConditionSucceeded)
	if !succeeded.IsUnknown() {
		return false
	}
	got := "no condition Succeeded"
	if succeeded != nil {
		got = fmt.Sprintf("Succeeded is %s/%s", succeeded.Status, succeeded.Reason)
	}
	found.running = true
	found.add(check.Doubted(CheckTime, "a completed TaskRun", got,
		"the TaskRun is not completed: wait for it and verify again"))
	return true
}
