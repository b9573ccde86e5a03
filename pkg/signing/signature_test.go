// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"slices"
	"testing"
)

func newECDSA(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSA(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSignAndVerify(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key  crypto.Signer
		want Algorithm
		size int
	}{
		"P-256":    {newECDSA(t, elliptic.P256()), AlgorithmECDSAP256, 64},
		"Ed25519":  {ed, AlgorithmEd25519, 64},
		"RSA 2048": {newRSA(t, 2048), AlgorithmRSA, 256},
	} {
		t.Run(name, func(t *testing.T) {
			algorithm := AlgorithmOf(c.key.Public())
			if algorithm != c.want {
				t.Fatalf("algorithm %d, want %d", algorithm, c.want)
			}
			signature, err := algorithm.Sign(rand.Reader, c.key, []byte("message"))
			if err != nil {
				t.Fatal(err)
			}
			if len(signature) != c.size {
				t.Errorf("signature of %d bytes, want %d", len(signature), c.size)
			}
			if err := algorithm.Verify(c.key.Public(), []byte("message"), signature); err != nil {
				t.Errorf("own signature: %v", err)
			}
			if algorithm.Verify(c.key.Public(), []byte("massage"), signature) == nil {
				t.Error("the signature is accepted for another message")
			}
			for i := range signature {
				signature[i] ^= 1
				if algorithm.Verify(c.key.Public(), []byte("message"), signature) == nil {
					t.Errorf("accepted with byte %d changed", i)
				}
				signature[i] ^= 1
			}
			for other := AlgorithmNone; other <= AlgorithmRSA+1; other++ {
				if other == algorithm {
					continue
				}
				if other.Verify(c.key.Public(), []byte("message"), signature) == nil {
					t.Errorf("algorithm %d verifies with this key", other)
				}
				if _, err := other.Sign(rand.Reader, c.key, []byte("message")); err == nil {
					t.Errorf("algorithm %d signs with this key", other)
				}
			}
		})
	}
}

// TestSignatureIsNotMalleable checks that only the lower of the two possible s of an ECDSA signature is made
// and accepted.
func TestSignatureIsNotMalleable(t *testing.T) {
	key, order := newECDSA(t, elliptic.P256()), elliptic.P256().Params().N
	half := new(big.Int).Rsh(order, 1)
	for range 40 { // by chance, half of all signatures have the higher s
		signature, err := AlgorithmECDSAP256.Sign(rand.Reader, key, []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		s := new(big.Int).SetBytes(signature[32:])
		if s.Cmp(half) > 0 {
			t.Fatalf("s = %v is above half of the order", s)
		}
		high := slices.Concat(signature[:32], new(big.Int).Sub(order, s).FillBytes(make([]byte, 32)))
		if AlgorithmECDSAP256.Verify(&key.PublicKey, []byte("message"), high) == nil {
			t.Fatal("the higher form of the signature is accepted")
		}
	}
	signature, err := AlgorithmECDSAP256.Sign(rand.Reader, key, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	der, err := ecdsa.SignASN1(rand.Reader, key, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string][]byte{
		"nothing": nil, "a byte more": append(signature, 0), "a byte less": signature[:63], "ASN.1": der,
		"zeros":        make([]byte, 64),
		"leading zero": append([]byte{0}, signature...),
	} {
		if AlgorithmECDSAP256.Verify(&key.PublicKey, []byte("message"), other) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAlgorithmOfRefusesOtherKeys(t *testing.T) {
	p384 := newECDSA(t, elliptic.P384())
	small := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2046), E: 65537}
	large := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 4096), E: 65537}
	for name, key := range map[string]crypto.PublicKey{"P-384": &p384.PublicKey, "RSA 2047": small, "RSA 4097": large,
		"none": nil} {
		if got := AlgorithmOf(key); got != AlgorithmNone {
			t.Errorf("%s: algorithm %d, want none", name, got)
		}
	}
}
