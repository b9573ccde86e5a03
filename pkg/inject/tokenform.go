// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/base64"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// ShortestTokens returns the format of the shortest tokens that the cluster's issuer can sign now.
func ShortestTokens(cluster *trust.Cluster) TokenForm {
	var shortest TokenForm
	if cluster == nil {
		return shortest
	}
	length := func(f TokenForm) int { return len(f.Issuer) + f.KeyID + f.Signature }
	for _, issuer := range cluster.ServiceAccountIssuers {
		for _, key := range issuer.Keys {
			form := TokenForm{Issuer: issuer.Issuer, KeyID: len(key.JWK.KeyID), Signature: signatureLength(key.JWK)}
			if key.NotAfter.IsZero() && (shortest == TokenForm{} || length(form) < length(shortest)) {
				shortest = form
			}
		}
	}
	return shortest
}

// signatureLength returns the length of a signature in base64url. An RSA signature is as long as the modulus, and an
// ECDSA signature twice as long as a coordinate (RFC 7518).
func signatureLength(key trust.JWK) int {
	if key.N != "" {
		return len(key.N)
	}
	return base64.RawURLEncoding.EncodedLen(2 * base64.RawURLEncoding.DecodedLen(len(key.X)))
}
