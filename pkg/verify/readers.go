// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// DefaultTokenLifetime is the longest lifetime that a signing token may have; the admission policies allow no more.
const DefaultTokenLifetime = 600 * time.Second

// TokenReviewer asks the cluster's API server about a token.
type TokenReviewer = check.Reviewer

// TokenReview is the answer of the API server.
type TokenReview = check.Review

// WithTokenReviewer lets the API server judge a token of a live TaskRun (Facts.Live) that the trust bundle
// alone cannot prove: one of an unknown key, or one that is bound to an audience only. By default, no API
// server is asked.
func WithTokenReviewer(reviewer TokenReviewer) Option {
	return func(v *Verifier) { v.policy.Reviewer = reviewer }
}

// WithAudiencePrefix sets the first part of signing audiences; the default is signing.AudiencePrefix.
func WithAudiencePrefix(prefix string) Option {
	return func(v *Verifier) { v.policy.AudiencePrefix = prefix }
}

// WithTokenLifetime sets the longest lifetime of a signing token, from iat to exp; the default is DefaultTokenLifetime.
func WithTokenLifetime(d time.Duration) Option { return func(v *Verifier) { v.policy.Lifetime = d } }

// WithStaleKeys is for keys that may be older than the evidence, such as those of a running process. A key of
// another issuer, or a retired one, then refutes nothing, because the cluster may have changed since. The key
// counts as missing (Result.MissingKey).
func WithStaleKeys() Option { return func(v *Verifier) { v.policy.StaleKeys = true } }

// defaultPolicy is the policy for identities unless an option changes it.
func defaultPolicy() check.Policy {
	return check.Policy{Lifetime: DefaultTokenLifetime, AudiencePrefix: signing.AudiencePrefix}
}

// setReaders sets the readers of evidence and of records, once the options are known.
func (v *Verifier) setReaders(cluster *trust.Cluster) error {
	if err := v.policy.Validate(); err != nil {
		return err
	}
	records, err := backends.Records(cluster, v.policy)
	if err != nil {
		return err
	}
	v.recordProof, v.hasRecorder = records.ReadRecord, len(cluster.Recorders) > 0
	if v.hasRecorder {
		v.recorder = cluster.Recorders[0].Subject
	}
	v.readers, err = backends.Readers(cluster, v.policy)
	return err
}
