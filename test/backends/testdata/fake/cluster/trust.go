// SPDX-License-Identifier: Apache-2.0

// Package cluster is the cluster half of a backend of a test.
package cluster

import (
	"crypto/x509"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/fake/proof"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// NewReader trusts the keys of the cluster's own authorities.
func NewReader(cluster *trust.Cluster, _ check.Policy) (check.Reader, error) {
	var r proof.Reader
	for _, bundle := range cluster.Domains {
		for _, a := range bundle.X509Authorities {
			certificate, err := a.Certificate()
			if err != nil {
				return nil, err
			}
			der, err := x509.MarshalPKIXPublicKey(certificate.PublicKey)
			if err != nil {
				return nil, err
			}
			r.Trusted = append(r.Trusted, string(der))
		}
	}
	return r, nil
}
