// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// AudiencePrefix begins the audience of every token of the backend oidc-sa-token. No API server accepts such
// a token, and the admission policies restrict who can request one.
const AudiencePrefix = "tekton-result-signing"

// Tokens defines which tokens are signing tokens.
type Tokens struct {
	Audience string        // first part of their audience
	Lifetime time.Duration // their longest lifetime, from iat to exp; whole seconds if signers request it
}

// DefaultTokens are the signing tokens of a cluster whose settings do not change them.
func DefaultTokens() Tokens {
	return Tokens{Audience: AudiencePrefix, Lifetime: DefaultTokenLifetime}
}

// AudienceKind is what a signing token vouches for: the middle part of its audience.
type AudienceKind string

// The kinds of audiences with a digest.
const (
	AudiencePayload AudienceKind = "p" // the payload of a unit
	AudienceKey     AudienceKind = "k" // an ephemeral public key
	AudienceRecord  AudienceKind = "r" // a record of the add-on
)

// audienceDigest matches the digest in an audience: 32 bytes in unpadded base64url.
const audienceDigest = "[A-Za-z0-9_-]{43}"

// Audience returns the audience for a digest, in the only grammar that there is: the prefix, the kind, and the
// digest in base64url, with colons between them.
func Audience(prefix string, kind AudienceKind, digest Digest) string {
	return AudienceForm(prefix, kind, base64.RawURLEncoding.EncodeToString(digest[:]))
}

// AudienceForm returns an audience with another text in place of the digest, for people.
func AudienceForm(prefix string, kind AudienceKind, digest string) string {
	return prefix + ":" + string(kind) + ":" + digest
}

// ParseAudience reads an audience with a digest.
func ParseAudience(prefix, audience string) (AudienceKind, Digest, error) {
	encoded := audience[strings.LastIndexByte(audience, ':')+1:]
	sum, err := DecodeBase64URL(encoded)
	if err != nil || len(sum) != len(Digest{}) {
		return "", Digest{}, fmt.Errorf("the audience %q does not end in a digest", audience)
	}
	for _, kind := range []AudienceKind{AudiencePayload, AudienceKey, AudienceRecord} {
		if audience == AudienceForm(prefix, kind, encoded) {
			return kind, Digest(sum), nil
		}
	}
	return "", Digest{}, fmt.Errorf("the audience %q has no known form", audience)
}

// AudiencePattern returns a regular expression for the end of an audience, behind its prefix, for admission policies.
func AudiencePattern(kinds ...AudienceKind) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	one := strings.Join(names, "")
	if len(kinds) != 1 {
		one = "[" + one + "]"
	}
	return ":" + one + ":" + audienceDigest
}

// PayloadAudience returns the only audience of a token that vouches for the payload with this digest.
func PayloadAudience(prefix string, digest Digest) string {
	return Audience(prefix, AudiencePayload, digest)
}

// KeyAudience returns the only audience of a token that vouches for an ephemeral public key (SPKI, DER).
func KeyAudience(prefix string, spki []byte) string {
	return Audience(prefix, AudienceKey, sha256.Sum256(spki))
}

// RecordAudience returns the only audience of a token that vouches for a record of the add-on, by the digest
// of the record's statement.
func RecordAudience(prefix string, digest Digest) string {
	return Audience(prefix, AudienceRecord, digest)
}

// FixedAudience returns the only audience of a token that vouches only for its pod: the prefix alone.
func FixedAudience(prefix string) string { return prefix }

// Lifetimes that a request for a signing token may have. No API server grants less than the shortest.
const (
	MinTokenLifetime     = 10 * time.Minute
	DefaultTokenLifetime = MinTokenLifetime
	MaxTokenLifetime     = time.Hour
)

// CheckLifetime returns an error for a lifetime that a signing token must not have.
func CheckLifetime(d time.Duration) error {
	if d < MinTokenLifetime || d > MaxTokenLifetime || d%time.Second != 0 {
		return fmt.Errorf("expected %d to %d whole seconds, got %v",
			int(MinTokenLifetime.Seconds()), int(MaxTokenLifetime.Seconds()), d)
	}
	return nil
}
