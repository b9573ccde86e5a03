// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// spiffe holds the authorities of a cluster. Only those of its own trust domain identify TaskRuns; the federated ones are here
// to name them when they tried.
type spiffe struct {
	trustDomain string
	own         *spire.Authorities
	federated   map[string]*spire.Authorities // by trust domain
}

func newSPIFFE(cluster *trust.Cluster) (spiffe, error) {
	var own []spire.Authority
	federated := map[string][]spire.Authority{}
	for _, bundle := range cluster.SPIFFE {
		for _, a := range bundle.X509Authorities {
			authority, err := parseAuthority(a)
			if err != nil {
				return spiffe{}, fmt.Errorf("authority of trust domain %q: %w", bundle.TrustDomain, err)
			}
			if bundle.TrustDomain == cluster.TrustDomain && !bundle.Federated {
				own = append(own, authority)
			} else {
				federated[bundle.TrustDomain] = append(federated[bundle.TrustDomain], authority)
			}
		}
	}
	s := spiffe{
		trustDomain: cluster.TrustDomain, own: spire.NewAuthorities(own), federated: map[string]*spire.Authorities{},
	}
	for domain, list := range federated {
		s.federated[domain] = spire.NewAuthorities(list)
	}
	return s, nil
}

func parseAuthority(a trust.X509Authority) (spire.Authority, error) {
	certificate, err := a.Certificate()
	if err != nil {
		return spire.Authority{}, err
	}
	return spire.Authority{Certificate: certificate, NotBefore: a.NotBefore.Time, NotAfter: a.NotAfter.Time}, nil
}
