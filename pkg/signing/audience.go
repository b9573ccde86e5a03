// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"crypto/sha256"
	"encoding/base64"
)

// AudiencePrefix begins the audience of every token of the backend oidc-sa-token. No API server accepts such a token, and
// the admission policies confine who may ask for one.
const AudiencePrefix = "tekton-result-signing"

// PayloadAudience is the one audience of a token that vouches for the payload with this digest.
func PayloadAudience(prefix string, digest Digest) string {
	return prefix + ":p:" + base64.RawURLEncoding.EncodeToString(digest[:])
}

// KeyAudience is the one audience of a token that vouches for an ephemeral public key (SPKI, DER).
func KeyAudience(prefix string, spki []byte) string {
	sum := sha256.Sum256(spki)
	return prefix + ":k:" + base64.RawURLEncoding.EncodeToString(sum[:])
}
