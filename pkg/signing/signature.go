// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// ecdsaHalf is the length of r and of s on P-256, in bytes.
const ecdsaHalf = 32

// Sizes of RSA keys that may sign, in bits.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// AlgorithmOf returns the algorithm with which a key of this kind signs, or AlgorithmNone for a key that must
// not sign.
func AlgorithmOf(key crypto.PublicKey) Algorithm {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return AlgorithmECDSAP256
		}
	case ed25519.PublicKey:
		return AlgorithmEd25519
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits >= minRSABits && bits <= maxRSABits {
			return AlgorithmRSA
		}
	}
	return AlgorithmNone
}

// Sign signs the message of a unit in the form of the algorithm. For ECDSA, that is 64 bytes r‖s with the
// lower of the two possible s.
func (a Algorithm) Sign(random io.Reader, key crypto.Signer, message []byte) ([]byte, error) {
	if a == AlgorithmNone || AlgorithmOf(key.Public()) != a {
		return nil, fmt.Errorf("a key of type %T cannot sign with algorithm %d", key, a)
	}
	digest := sha256.Sum256(message)
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(random, key, digest[:])
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		if isHigh(s) {
			s.Sub(elliptic.P256().Params().N, s)
		}
		return append(r.FillBytes(make([]byte, ecdsaHalf)), s.FillBytes(make([]byte, ecdsaHalf))...), nil
	case ed25519.PrivateKey:
		return key.Sign(random, message, crypto.Hash(0))
	}
	return key.Sign(random, digest[:], crypto.SHA256)
}

// ErrSignature is the error for a signature that the key did not make.
var ErrSignature = errors.New("the key did not make this signature")

// Verify returns an error unless key made signature over the message of a unit. It accepts only the lower of
// the two forms of an ECDSA signature, because evidence that was changed must be invalid.
func (a Algorithm) Verify(key crypto.PublicKey, message, signature []byte) error {
	if a == AlgorithmNone || AlgorithmOf(key) != a {
		return fmt.Errorf("a key of type %T does not fit algorithm %d", key, a)
	}
	digest := sha256.Sum256(message)
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return verifyECDSA(key, digest[:], signature)
	case ed25519.PublicKey:
		if !ed25519.Verify(key, message, signature) {
			return ErrSignature
		}
		return nil
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) != nil {
			return ErrSignature
		}
		return nil
	}
	return ErrSignature
}

func verifyECDSA(key *ecdsa.PublicKey, digest, signature []byte) error {
	if len(signature) != 2*ecdsaHalf {
		return fmt.Errorf("expected a signature of %d bytes, got %d", 2*ecdsaHalf, len(signature))
	}
	r, s := new(big.Int).SetBytes(signature[:ecdsaHalf]), new(big.Int).SetBytes(signature[ecdsaHalf:])
	if isHigh(s) {
		return errors.New("expected the lower form of the signature, got the higher one")
	}
	if !ecdsa.Verify(key, digest, r, s) {
		return ErrSignature
	}
	return nil
}

// isHigh reports whether s is in the upper half of the P-256 group's order.
func isHigh(s *big.Int) bool {
	half := new(big.Int).Rsh(elliptic.P256().Params().N, 1)
	return s.Cmp(half) > 0
}
