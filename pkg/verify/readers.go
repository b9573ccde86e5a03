// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Tokens defines which tokens are signing tokens. The settings of a cluster can change it.
type Tokens = signing.Tokens

// Reviewer asks the cluster's API server about a token.
type Reviewer = check.Reviewer

// Review is the answer of the API server.
type Review = check.Review

// WithReviewer lets the API server judge a token of a live TaskRun (Facts.Live) that the trust bundle alone cannot
// prove: one of an unknown key, or one that is bound to an audience only. By default, no API server is asked.
func WithReviewer(reviewer Reviewer) Option {
	return func(v *Verifier) { v.policy.Reviewer = reviewer }
}

// WithTokens sets which tokens are signing tokens. The default is DefaultTokens.
func WithTokens(t Tokens) Option { return func(v *Verifier) { v.policy.Tokens = t } }

// DefaultTokens are the signing tokens of a cluster whose settings do not change them.
func DefaultTokens() Tokens { return signing.DefaultTokens() }

// WithStaleKeys is for keys that may be older than the evidence, such as those of a running process. A key of
// another issuer, or a retired one, then refutes nothing, because the cluster may have changed since. The key
// counts as missing (Result.MissingKey).
func WithStaleKeys() Option { return func(v *Verifier) { v.policy.StaleKeys = true } }

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
	if v.status, err = backends.StatusReaders(cluster); err != nil {
		return err
	}
	v.readers, err = backends.Readers(cluster, v.policy)
	return err
}
