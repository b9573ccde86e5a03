// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
)

// VerifyLegacy returns an error unless key made signature over value in format v1. LegacyValue returns such
// values. VerifyLegacy accepts what Tekton's own verifier accepts, except keys that are too weak and base64
// that is not canonical. The error is ErrSignature if the signature was made over something else, or with
// another key.
func VerifyLegacy(key crypto.PublicKey, value, signature string) error {
	raw, err := DecodeBase64(signature)
	if err != nil {
		return fmt.Errorf("decoding the signature: %w", err)
	}
	digest := sha256.Sum256([]byte(value))
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return fmt.Errorf("expected a key on P-256 or P-384, got one on %s", key.Params().Name)
		}
		if !ecdsa.VerifyASN1(key, digest[:], raw) {
			return ErrSignature
		}
		return nil
	case *rsa.PublicKey:
		if AlgorithmOf(key) != AlgorithmRSA {
			return fmt.Errorf("expected an RSA key of %d to %d bits, got %d", minRSABits, maxRSABits, key.N.BitLen())
		}
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], raw) != nil {
			return ErrSignature
		}
		return nil
	case ed25519.PublicKey:
		if !ed25519.Verify(key, []byte(value), raw) {
			return ErrSignature
		}
		return nil
	}
	return fmt.Errorf("a key of type %T cannot sign", key)
}

// LegacyNonce returns the number r of an ECDSA signature of format v1. No two honest signatures have the same
// r. The whole text does not identify a signature, because two values of its other half are valid. If the
// text is not a signature, LegacyNonce returns the text itself.
func LegacyNonce(signature string) string {
	raw, err := DecodeBase64(signature)
	if err != nil {
		return signature
	}
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(raw, &pair); err != nil || len(rest) > 0 {
		return signature
	}
	return pair.R.String()
}

// DecodeBase64 decodes padded standard base64 (RFC 4648, section 4), as format v1 writes it, and accepts only
// the canonical form, without line breaks or trailing bits.
func DecodeBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	if base64.StdEncoding.EncodeToString(b) != s {
		return nil, fmt.Errorf("not canonical base64")
	}
	return b, nil
}
