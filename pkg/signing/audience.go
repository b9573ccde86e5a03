// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

// AudiencePrefix begins the audience of every token of the backend oidc-sa-token. No API server accepts such
// a token, and the admission policies restrict who can request one.
const AudiencePrefix = "tekton-result-signing"

// PayloadAudience returns the only audience of a token that vouches for the payload with this digest.
func PayloadAudience(prefix string, digest Digest) string {
	return prefix + ":p:" + base64.RawURLEncoding.EncodeToString(digest[:])
}

// KeyAudience returns the only audience of a token that vouches for an ephemeral public key (SPKI, DER).
func KeyAudience(prefix string, spki []byte) string {
	sum := sha256.Sum256(spki)
	return prefix + ":k:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// RecordAudience returns the only audience of a token that vouches for a record of the add-on, by the digest
// of the record's statement.
func RecordAudience(prefix string, digest Digest) string {
	return prefix + ":r:" + base64.RawURLEncoding.EncodeToString(digest[:])
}

// FixedAudience returns the only audience of a token that vouches only for its pod: the prefix alone.
func FixedAudience(prefix string) string { return prefix }

// Lifetimes that a request for a signing token may have. No API server grants less than the shortest.
const (
	MinTokenLifetime     = 10 * time.Minute
	DefaultTokenLifetime = MinTokenLifetime
	MaxTokenLifetime     = time.Hour
)

// CheckTokenLifetime returns an error for a lifetime that a signing token must not have.
func CheckTokenLifetime(d time.Duration) error {
	if d < MinTokenLifetime || d > MaxTokenLifetime || d%time.Second != 0 {
		return fmt.Errorf("expected %d to %d whole seconds, got %v",
			int(MinTokenLifetime.Seconds()), int(MaxTokenLifetime.Seconds()), d)
	}
	return nil
}
