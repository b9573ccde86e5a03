// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/base64"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// ShortestTokens returns the format of the shortest tokens that the cluster's issuer can sign now.
func ShortestTokens(cluster *trust.Cluster) TokenForm {
	return choose(cluster, func(a, b TokenForm) bool { return a.length() < b.length() })
}

// LongestTokens returns the format of the longest ones. A cluster that changes its key publishes both keys, and nothing
// shows which one signs.
func LongestTokens(cluster *trust.Cluster) TokenForm {
	return choose(cluster, func(a, b TokenForm) bool { return a.length() > b.length() })
}

func (f TokenForm) length() int { return len(f.Issuer) + f.KeyID + f.Signature }

// choose returns the best format of tokens, or the zero value without keys.
func choose(cluster *trust.Cluster, better func(a, b TokenForm) bool) TokenForm {
	var best TokenForm
	if cluster == nil {
		return best
	}
	for _, issuer := range cluster.ServiceAccountIssuers {
		for _, key := range issuer.Keys {
			form := TokenForm{Issuer: issuer.Issuer, KeyID: len(key.JWK.KeyID), Signature: signatureLength(key.JWK)}
			if key.NotAfter.IsZero() && (best == TokenForm{} || better(form, best)) {
				best = form
			}
		}
	}
	return best
}

// signatureLength returns the length of a signature in base64url. An RSA signature is as long as the modulus, and an
// ECDSA signature twice as long as a coordinate (RFC 7518).
func signatureLength(key trust.JWK) int {
	if key.N != "" {
		return len(key.N)
	}
	return base64.RawURLEncoding.EncodedLen(2 * base64.RawURLEncoding.DecodedLen(len(key.X)))
}
