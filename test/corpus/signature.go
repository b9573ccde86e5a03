// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"math/big"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// signed changes the first step's signature.
func signed(change func([]byte) []byte) func(*verifytest.Run) {
	return carriers(func(c map[string]string) {
		b, err := signing.DecodeBase64URL(c[signing.CarrierManifestSignature])
		if err != nil {
			panic(err) // the virtual signer wrote it
		}
		c[signing.CarrierManifestSignature] = base64.RawURLEncoding.EncodeToString(change(b))
	})
}

// signatureAttacks change a step's signature.
func signatureAttacks() []attack {
	signature, payload := failed(verify.CheckSignature), failed(verify.CheckPayload)
	text := func(change func(string) string) func(*verifytest.Run) {
		return carriers(func(c map[string]string) {
			c[signing.CarrierManifestSignature] = change(c[signing.CarrierManifestSignature])
		})
	}
	return []attack{
		{name: "signature changed", want: payload, sign: signed(func(b []byte) []byte { b[40] ^= 1; return b })},
		{name: "signature in its other form", want: signature, sign: signed(func(b []byte) []byte {
			s := new(big.Int).SetBytes(b[32:])
			s.Sub(elliptic.P256().Params().N, s).FillBytes(b[32:])
			return b
		})},
		{name: "signature cut", want: signature, sign: signed(func(b []byte) []byte { return b[:63] })},
		{name: "signature longer", want: signature, sign: signed(func(b []byte) []byte { return append(b, 0) })},
		{name: "signature of zeros", want: payload, sign: signed(func(b []byte) []byte { return make([]byte, len(b)) })},
		{name: "signature empty", want: signature, sign: text(func(string) string { return "" })},
		{name: "signature with a line break", want: signature, sign: text(func(s string) string { return s + "\n" })},
		{name: "signature padded", want: signature, sign: text(func(s string) string { return s + "==" })},
		{name: "signature with stray bits", want: signature, sign: text(strayBits)},
	}
}

// keyAttacks put another key next to the token that vouches for a key.
func keyAttacks() []attack {
	publicKey := func(change func(string) string) func(*verifytest.Run) {
		return carriers(func(c map[string]string) { c[signing.CarrierPublicKey] = change(c[signing.CarrierPublicKey]) })
	}
	return []attack{
		{name: "another key", want: failed(verify.CheckToken), sign: publicKey(func(string) string {
			key, err := verifytest.NewKey()
			if err != nil {
				panic(err) // crypto/rand does not fail
			}
			spki, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				panic(err)
			}
			return base64.RawURLEncoding.EncodeToString(spki)
		})},
		{name: "no key", want: failed(verify.CheckKey), sign: publicKey(func(string) string { return "" })},
		{name: "a broken key", want: failed(verify.CheckKey), sign: publicKey(func(s string) string { return s[:40] })},
		{name: "a key with stray bits", want: failed(verify.CheckKey), sign: publicKey(strayBits)},
		{
			name: "a key with trailing bytes", want: failed(verify.CheckKey),
			sign: publicKey(func(s string) string { return s + "AAAA" }),
		},
	}
}
