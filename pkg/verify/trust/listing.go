// SPDX-License-Identifier: Apache-2.0

package trust

import "fmt"

// Key is a key of a cluster in a bundle, of any kind.
type Key struct {
	Issuer      string // of service account tokens, or the URL of the trust domain
	ID          string // empty for an X.509 authority
	Algorithm   string // of tokens (RFC 7518), or X.509
	Federated   bool
	Fingerprint string // hex SHA-256 of the key (SPKI, DER) or of the certificate (DER)
	NotBefore   Timestamp
	NotAfter    Timestamp
	LastSeen    Timestamp
}

// Keys returns all keys of a cluster.
func (c *Cluster) Keys() ([]Key, error) {
	var keys []Key
	for _, issuer := range c.ServiceAccountIssuers {
		for _, k := range issuer.Keys {
			fingerprint, err := k.JWK.Fingerprint()
			if err != nil {
				return nil, fmt.Errorf("key %q: %w", k.JWK.KeyID, err)
			}
			keys = append(keys, Key{
				Issuer: issuer.Issuer, ID: k.JWK.KeyID, Algorithm: k.JWK.Algorithm, Fingerprint: fingerprint,
				NotBefore: k.NotBefore, NotAfter: k.NotAfter, LastSeen: k.LastSeen,
			})
		}
	}
	for _, s := range c.Domains {
		for _, a := range s.X509Authorities {
			certificate, err := a.Certificate()
			if err != nil {
				return nil, fmt.Errorf("authority of trust domain %q: %w", s.TrustDomain, err)
			}
			keys = append(keys, Key{
				Issuer: domainURL + s.TrustDomain, Algorithm: "X.509", Federated: s.Federated,
				Fingerprint: SHA256(certificate.Raw), NotBefore: a.NotBefore, NotAfter: a.NotAfter, LastSeen: a.LastSeen,
			})
		}
	}
	return keys, nil
}

// CountKeys returns how many keys all clusters of a bundle have, and how many of them are retired.
func (b *Bundle) CountKeys() (all, retired int) {
	count := func(notAfter Timestamp) {
		all++
		if !notAfter.IsZero() {
			retired++
		}
	}
	for _, c := range b.Clusters {
		for _, issuer := range c.ServiceAccountIssuers {
			for _, k := range issuer.Keys {
				count(k.NotAfter)
			}
		}
		for _, s := range c.Domains {
			for _, a := range s.X509Authorities {
				count(a.NotAfter)
			}
		}
	}
	return all, retired
}
