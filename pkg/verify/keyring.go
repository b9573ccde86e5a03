// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// keyring holds the issuer keys of a cluster by issuer and key ID.
type keyring map[string]map[string]issuerKey

// issuerKey is a key with the window in which it was seen in use; zero times are unknown.
type issuerKey struct {
	oidc.Key
	invalid             error // why it must not be used
	notBefore, notAfter time.Time
}

func newKeyring(cluster *trust.Cluster) (keyring, error) {
	ring := keyring{}
	for _, issuer := range cluster.ServiceAccountIssuers {
		keys := ring[issuer.Issuer]
		if keys == nil {
			keys = map[string]issuerKey{}
			ring[issuer.Issuer] = keys
		}
		for _, k := range issuer.Keys {
			key, err := k.JWK.Key()
			if err != nil {
				return nil, fmt.Errorf("key %q of issuer %q: %w", k.JWK.KeyID, issuer.Issuer, err)
			}
			keys[k.JWK.KeyID] = issuerKey{Key: key, invalid: key.Validate(), notBefore: k.NotBefore.Time, notAfter: k.NotAfter.Time}
		}
	}
	return ring, nil
}

// issuerOf returns an issuer that has a key with this ID.
func (r keyring) issuerOf(keyID string) (string, bool) {
	for issuer, keys := range r {
		if _, ok := keys[keyID]; ok {
			return issuer, true
		}
	}
	return "", false
}
