// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestVerifyLegacy(t *testing.T) {
	const value = "sha256:aaa"
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"P-256": p256, "P-384": p384, "RSA": rsaKey} {
		signature, err := SignLegacyValue(rand.Reader, key, value)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyLegacy(key.Public(), value, signature); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := VerifyLegacy(key.Public(), value+" ", signature); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: another value: %v", name, err)
		}
		for what, changed := range map[string]string{
			"line break": signature[:4] + "\n" + signature[4:], "no base64": "!", "padding": signature + "=",
			"URL-safe": "__" + signature[2:],
		} {
			if err := VerifyLegacy(key.Public(), value, changed); err == nil || errors.Is(err, ErrSignature) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signature := base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(value)))
	if err := VerifyLegacy(public, value, signature); err != nil {
		t.Errorf("Ed25519: %v", err)
	}
	if err := VerifyLegacy(public, "x", signature); !errors.Is(err, ErrSignature) {
		t.Errorf("Ed25519: another value: %v", err)
	}
}

func TestVerifyLegacyRefusesKeys(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"P-224": p224, "RSA of 1024 bits": small} {
		signature, err := SignLegacyValue(rand.Reader, key, "x")
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyLegacy(key.Public(), "x", signature); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if err := VerifyLegacy(nil, "x", ""); err == nil {
		t.Error("no key is accepted")
	}
}

// Each value has one text in Tekton's own base64.
func TestDecodeBase64(t *testing.T) {
	for _, s := range []string{"AB==", "AA", "AA=", "A A=", "AA==\n", "\r\nAA==", "AA==AA==", "_-8=",
		strings.Repeat("=", 4)} {
		if b, err := DecodeBase64(s); err == nil {
			t.Errorf("%q is read as %x", s, b)
		}
	}
	for _, s := range []string{"", "AA==", "+/8="} {
		if b, err := DecodeBase64(s); err != nil || base64.StdEncoding.EncodeToString(b) != s {
			t.Errorf("%q is read as %x, %v", s, b, err)
		}
	}
}
