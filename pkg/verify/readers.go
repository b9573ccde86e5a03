// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	oidcproof "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc/proof"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	spireproof "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/proof"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// This file is the one that knows the backends: their options, and how each finds its trust in a bundle.

// DefaultTokenLifetime is the longest lifetime that a signing token may have; the admission policies allow no more.
const DefaultTokenLifetime = 600 * time.Second

// TokenReviewer asks the cluster's API server about a token.
type TokenReviewer = oidcproof.Reviewer

// TokenReview is the answer of an API server.
type TokenReview = oidcproof.Review

// WithTokenReviewer lets the API server judge a token of a live TaskRun (Facts.Live) that the trust bundle alone cannot
// prove: one of an unknown key, or one that is bound to nothing but an audience. The default is to ask nobody.
func WithTokenReviewer(reviewer TokenReviewer) Option {
	return func(v *Verifier) { v.tokens.Reviewer = reviewer }
}

// WithAudiencePrefix sets the first part of signing audiences; the default is signing.AudiencePrefix.
func WithAudiencePrefix(prefix string) Option {
	return func(v *Verifier) { v.tokens.AudiencePrefix = prefix }
}

// WithTokenLifetime sets the longest lifetime of a signing token, from iat to exp; the default is DefaultTokenLifetime.
func WithTokenLifetime(d time.Duration) Option { return func(v *Verifier) { v.tokens.Lifetime = d } }

// WithStaleKeys is for keys that may be older than what was signed, as those of a running process are. That a key is of another
// issuer, or was retired, refutes nothing then: the cluster may have changed since. The key is missing (Result.MissingKey).
func WithStaleKeys() Option { return func(v *Verifier) { v.tokens.StaleKeys = true } }

// tokenPolicy is what tokens are trusted for.
type tokenPolicy = oidcproof.Policy

// newTokenPolicy returns what is trusted of tokens unless an option changes it.
func newTokenPolicy(cluster *trust.Cluster) (tokenPolicy, error) {
	p := tokenPolicy{Keys: oidcproof.Keyring{}, Lifetime: DefaultTokenLifetime, AudiencePrefix: signing.AudiencePrefix}
	for _, issuer := range cluster.ServiceAccountIssuers {
		for _, k := range issuer.Keys {
			key, err := k.JWK.Key()
			if err != nil {
				return p, fmt.Errorf("key %q of issuer %q: %w", k.JWK.KeyID, issuer.Issuer, err)
			}
			p.Keys.Add(issuer.Issuer, k.JWK.KeyID, key, k.NotBefore.Time, k.NotAfter.Time)
		}
	}
	for _, r := range cluster.Recorders {
		p.Recorders = append(p.Recorders, r.Subject)
	}
	return p, nil
}

// newCertificates returns the reader of a cluster's SVIDs.
func newCertificates(cluster *trust.Cluster) (check.Reader, error) {
	var own []spire.Authority
	federated := map[string][]spire.Authority{}
	for _, bundle := range cluster.SPIFFE {
		for _, a := range bundle.X509Authorities {
			certificate, err := a.Certificate()
			if err != nil {
				return nil, fmt.Errorf("authority of trust domain %q: %w", bundle.TrustDomain, err)
			}
			authority := spire.Authority{Certificate: certificate, NotBefore: a.NotBefore.Time, NotAfter: a.NotAfter.Time}
			if bundle.TrustDomain == cluster.TrustDomain && !bundle.Federated {
				own = append(own, authority)
			} else {
				federated[bundle.TrustDomain] = append(federated[bundle.TrustDomain], authority)
			}
		}
	}
	return spireproof.NewReader(cluster.TrustDomain, own, federated), nil
}

// setReaders sets the readers of evidence and of records, once the options are known.
func (v *Verifier) setReaders(certificates check.Reader) error {
	switch {
	case v.tokens.Lifetime <= 0:
		return fmt.Errorf("expected a token lifetime above zero, got %s", v.tokens.Lifetime)
	case v.tokens.AudiencePrefix == "":
		return fmt.Errorf("the audience prefix is empty")
	}
	tokens := oidcproof.NewReader(v.tokens)
	v.recordProof = tokens.ReadRecord
	v.readers = map[signing.Backend]check.Reader{signing.BackendOIDCSAToken: tokens, signing.BackendSPIRE: certificates}
	return nil
}
