// SPDX-License-Identifier: Apache-2.0

// Package cluster reads what the backend spire needs from a cluster: the authorities of its trust domain.
package cluster

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/proof"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// NewReader returns a reader for a cluster's SVIDs.
func NewReader(cluster *trust.Cluster) (*proof.Reader, error) {
	var own []spire.Authority
	federated := map[string][]spire.Authority{}
	for _, bundle := range cluster.Domains {
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
	return proof.NewReader(cluster.TrustDomain, own, federated), nil
}
