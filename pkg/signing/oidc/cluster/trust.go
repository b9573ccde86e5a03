// SPDX-License-Identifier: Apache-2.0

// Package cluster reads what the backend oidc-sa-token needs from a cluster: the keys of its service account
// issuers.
package cluster

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc/proof"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// NewReader returns a reader for the tokens of a cluster, in the evidence of steps and in records.
func NewReader(cluster *trust.Cluster, policy check.Policy) (*proof.Reader, error) {
	p := proof.Policy{Policy: policy, Keys: proof.Keyring{}}
	for _, issuer := range cluster.ServiceAccountIssuers {
		for _, k := range issuer.Keys {
			key, err := k.JWK.Key()
			if err != nil {
				return nil, fmt.Errorf("key %q of issuer %q: %w", k.JWK.KeyID, issuer.Issuer, err)
			}
			p.Keys.Add(issuer.Issuer, k.JWK.KeyID, key, k.NotBefore.Time, k.NotAfter.Time)
		}
	}
	for _, r := range cluster.Recorders {
		p.Recorders = append(p.Recorders, r.Subject)
	}
	return proof.NewReader(p), nil
}
