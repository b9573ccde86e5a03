// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Timing of Trust.
const (
	refreshInterval = 10 * time.Minute // how often the keys are read anyway
	refreshPause    = 10 * time.Second // least time between two reads that an unknown key asks for
	refreshTimeout  = 2 * time.Second
	// settleTime is how long after a step ended the keys must have been read to refute its signature. API servers that
	// are restarted one by one with another key or issuer differ for a while.
	settleTime = 10 * time.Minute
	// reviewTimeout bounds all token reviews of one TaskRun. With podTimeout and refreshTimeout it stays below the ten
	// seconds after which the API server gives up on the status webhook.
	reviewTimeout = 3 * time.Second
)

// maxRules bounds how many verifiers are kept. Each mode has its own rules, and settings change rarely.
const maxRules = 8

// Trust verifies with the issuer keys of its cluster: those in use, and those of its trust history. It keeps them in
// memory. It reads them again regularly, and when it meets an unknown key or issuer: then at most once in
// refreshPause, with one request for all that wait. If the keys do not decide, it asks the API server
// (authentication.k8s.io). If that does not decide either, only keys that were read long enough after signing
// refute.
type Trust struct {
	fetch    func(context.Context) (*trust.Cluster, error)
	reviewer verify.Reviewer
	now      func() time.Time
	log      *zap.SugaredLogger
	once     singleflight.Group
	wake     chan struct{}

	mu        sync.RWMutex
	cluster   *trust.Cluster
	read      time.Time            // when the cluster was asked for these keys
	verifiers map[Rules]*verifiers // of cluster, one for each mode at most
	asked     time.Time            // when the keys were last asked for
}

// verifiers are three verifiers with the same keys and rules.
type verifiers struct {
	read   time.Time        // when the cluster was asked for the keys
	local  *verify.Verifier // makes no request
	asking *verify.Verifier // asks the API server about tokens that the keys do not prove
	final  *verify.Verifier // assumes that these are all keys of the cluster
}

// NewTrust returns a Trust that reads the keys with fetch, and asks reviewer if they do not decide.
func NewTrust(
	fetch func(context.Context) (*trust.Cluster, error), reviewer verify.Reviewer, now func() time.Time,
	log *zap.SugaredLogger,
) *Trust {
	return &Trust{fetch: fetch, reviewer: reviewer, now: now, log: log, wake: make(chan struct{}, 1)}
}

// Changed makes Run read the keys again soon.
func (t *Trust) Changed() {
	select {
	case t.wake <- struct{}{}:
	default: // Run has not yet noticed an earlier change
	}
}

// Run reads the keys regularly until ctx ends.
func (t *Trust) Run(ctx context.Context) {
	for {
		pause := wait.Jitter(refreshInterval, 0.1)
		if err := t.refresh(ctx); err != nil {
			t.log.Warnw("reading the issuer's keys", zap.Error(err))
			pause = refreshPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		case <-t.wake:
		}
	}
}

// Ready reports whether there are keys.
func (t *Trust) Ready() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.cluster != nil
}

// Cluster returns the keys, which must not be changed, or nil if there are none yet.
func (t *Trust) Cluster() *trust.Cluster {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.cluster
}

// TaskRun implements Verifier. It verifies locally first, with keys that are fresh enough, and asks the API server
// about tokens only if that leaves something open.
func (t *Trust) TaskRun(ctx context.Context, rules Rules, tr *v1.TaskRun, facts verify.Facts) (verify.Result, error) {
	v, err := t.verifiersFor(rules)
	if err != nil {
		if err = t.refreshOnDemand(ctx); err != nil {
			return verify.Result{}, err
		}
		if v, err = t.verifiersFor(rules); err != nil {
			return verify.Result{}, err
		}
	}
	result := v.local.TaskRun(ctx, tr, facts)
	if result.MissingKey != "" {
		if err := t.refreshOnDemand(ctx); err != nil {
			t.log.Warnw("a TaskRun was signed with an unknown key", "key", result.MissingKey, zap.Error(err))
		}
		// Other requests can have refreshed the keys, too. If they changed, ask again.
		fresh, err := t.verifiersFor(rules)
		if err != nil {
			return verify.Result{}, err
		}
		if fresh != v {
			v = fresh
			result = v.local.TaskRun(ctx, tr, facts)
		}
	}
	if result.Verdict != verify.Indeterminate {
		return result, nil
	}
	asking, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	result = v.asking.TaskRun(asking, tr, facts)
	switch {
	case result.Verdict != verify.Indeterminate || result.MissingKey == "" || result.Premature():
	case t.mayBeBehind(v.read, lastEnd(tr)):
		result.Reason = verify.ReasonKeysBehind
	default:
		if final := v.final.TaskRun(ctx, tr, facts); final.Verdict == verify.Failed {
			result = final
		}
	}
	return result, nil
}

// mayBeBehind reports whether keys that were read at one time may lack a key that signed a step which ended at
// another. A node whose clock is far ahead does not cause a wait.
func (t *Trust) mayBeBehind(read, ended time.Time) bool {
	return !ended.After(t.now().Add(settleTime)) && read.Before(ended.Add(settleTime))
}

// lastEnd returns when the last step ended by its node's clock, and so the latest time of signing. Unlike the
// completion time it is the same in each attempt to write the status.
func lastEnd(tr *v1.TaskRun) (last time.Time) {
	for i := range tr.Status.Steps {
		if ended := tr.Status.Steps[i].Terminated; ended != nil && ended.FinishedAt.After(last) {
			last = ended.FinishedAt.Time
		}
	}
	return last
}

// verifiersFor returns the verifiers for the present keys. It builds them again when the keys or the rules have
// changed.
func (t *Trust) verifiersFor(rules Rules) (*verifiers, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v := t.verifiers[rules]; v != nil {
		return v, nil
	}
	if t.cluster == nil {
		return nil, fmt.Errorf("the issuer's keys are not known yet")
	}
	options := []verify.Option{
		verify.WithClock(t.now), verify.WithTokens(rules.Tokens),
		verify.WithMinimumFormat(rules.MinimumFormat), verify.WithMinimumAssurance(rules.MinimumAssurance),
	}
	if rules.Receipts {
		options = append(options, verify.WithReceipts())
	}
	v := &verifiers{read: t.read}
	for _, one := range []struct {
		verifier **verify.Verifier
		more     []verify.Option
	}{
		{&v.local, []verify.Option{verify.WithStaleKeys()}},
		{&v.asking, []verify.Option{verify.WithStaleKeys(), verify.WithReviewer(t.reviewer)}},
		{&v.final, nil},
	} {
		var err error
		if *one.verifier, err = verify.New(t.cluster, slices.Concat(options, one.more)...); err != nil {
			return nil, fmt.Errorf("using the issuer's keys: %w", err)
		}
	}
	if t.verifiers == nil || len(t.verifiers) >= maxRules {
		t.verifiers = map[Rules]*verifiers{}
	}
	t.verifiers[rules] = v
	return v, nil
}

// refreshOnDemand reads the keys unless they were read a moment ago.
func (t *Trust) refreshOnDemand(ctx context.Context) (err error) {
	Outside(ctx, func() { // all who wait for the one request
		_, err, _ = t.once.Do("keys", func() (any, error) {
			t.mu.RLock()
			asked := t.asked
			t.mu.RUnlock()
			if !asked.IsZero() && t.now().Sub(asked) < refreshPause {
				return nil, fmt.Errorf("the issuer's keys were read %s ago: not again so soon",
					t.now().Sub(asked).Round(time.Second))
			}
			// The others that wait must not fail because the first one's request ended.
			return nil, t.refresh(context.WithoutCancel(ctx))
		})
	})
	return err
}

func (t *Trust) refresh(ctx context.Context) error {
	asked := t.now()
	t.mu.Lock()
	t.asked = asked
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	cluster, err := t.fetch(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cluster, t.read, t.verifiers = cluster, asked, nil
	return nil
}
