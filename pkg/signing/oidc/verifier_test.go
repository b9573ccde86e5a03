// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

const claimsText = `{"aud":["tekton-result-signing:p:LXYCzdxswsVozwy5nWjv5pjAXTtk4o9pTFVt-WWJ4Sk"],` +
	`"exp":1795342566,"iat":1795341966,` +
	`"iss":"https://kubernetes.default.svc","jti":"7bfc7bd6","kubernetes.io":{"namespace":"ci","node":{"name":"n"},` +
	`"pod":{"name":"build-pod","uid":"3db15e48"},"serviceaccount":{"name":"builder","uid":"4d23"}},` +
	`"nbf":1795341966,"sub":"system:serviceaccount:ci:builder"}`

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// compact returns a JWS with this header and these claims, signed with ES256 if key is not nil.
func compact(t testing.TB, key *ecdsa.PrivateKey, header, claims string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(header)) + "." + encode([]byte(claims))
	if key == nil {
		return signed + "." + encode(make([]byte, 64))
	}
	hash := crypto.SHA256.New()
	hash.Write([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, hash.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func TestParseToken(t *testing.T) {
	key := newECKey(t)
	token, err := ParseToken(compact(t, key, `{"alg":"ES256","kid":"k"}`, claimsText))
	if err != nil {
		t.Fatal(err)
	}
	issued := time.Unix(1795341966, 0).UTC()
	want := Claims{
		ID: "7bfc7bd6", Issuer: "https://kubernetes.default.svc", Subject: "system:serviceaccount:ci:builder",
		Audience: []string{"tekton-result-signing:p:LXYCzdxswsVozwy5nWjv5pjAXTtk4o9pTFVt-WWJ4Sk"},
		IssuedAt: issued, NotBefore: issued, Expiry: issued.Add(600 * time.Second),
		Namespace: "ci", ServiceAccount: "builder", Pod: "build-pod", PodUID: "3db15e48",
	}
	if diff := cmp.Diff(want, token.Claims); diff != "" {
		t.Errorf("claims differ (-want +got):\n%s", diff)
	}
	if token.KeyID != "k" || token.Algorithm != "ES256" {
		t.Errorf("key %q, algorithm %q", token.KeyID, token.Algorithm)
	}
	if err := token.VerifySignature(Key{Algorithm: "ES256", Public: &key.PublicKey}); err != nil {
		t.Errorf("the key that signed: %v", err)
	}
	binding, digest, err := token.Claims.Binding(signing.AudiencePrefix)
	if err != nil || binding != signing.BindingPayload ||
		signing.PayloadAudience(signing.AudiencePrefix, digest) != want.Audience[0] {
		t.Errorf("digest %x, %v", digest, err)
	}
}

func TestParseTokenRefuses(t *testing.T) {
	const header = `{"alg":"ES256","kid":"k"}`
	valid := compact(t, nil, header, claimsText)
	parts := strings.Split(valid, ".")
	for name, raw := range map[string]string{
		"empty":            "",
		"two parts":        parts[0] + "." + parts[1],
		"four parts":       valid + ".AA",
		"too long":         valid + strings.Repeat("A", MaxToken),
		"padding":          parts[0] + "." + parts[1] + "=." + parts[2],
		"line break":       parts[0] + "." + parts[1] + "\n." + parts[2],
		"trailing bits":    parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-1] + "B",
		"none":             compact(t, nil, `{"alg":"none","kid":"k"}`, claimsText),
		"symmetric":        compact(t, nil, `{"alg":"HS256","kid":"k"}`, claimsText),
		"PSS":              compact(t, nil, `{"alg":"PS256","kid":"k"}`, claimsText),
		"no key ID":        compact(t, nil, `{"alg":"ES256"}`, claimsText),
		"another type":     compact(t, nil, `{"alg":"ES256","kid":"k","typ":"at+jwt"}`, claimsText),
		"crit":             compact(t, nil, `{"alg":"ES256","kid":"k","crit":["exp"]}`, claimsText),
		"jwk":              compact(t, nil, `{"alg":"ES256","kid":"k","jwk":{}}`, claimsText),
		"jku":              compact(t, nil, `{"alg":"ES256","kid":"k","jku":"https://evil"}`, claimsText),
		"x5u":              compact(t, nil, `{"alg":"ES256","kid":"k","x5u":"https://evil"}`, claimsText),
		"x5c":              compact(t, nil, `{"alg":"ES256","kid":"k","x5c":["AA"]}`, claimsText),
		"header twice":     compact(t, nil, `{"alg":"ES256","kid":"k","kid":"l"}`, claimsText),
		"header case":      compact(t, nil, `{"alg":"ES256","Kid":"k"}`, claimsText),
		"claims no object": compact(t, nil, header, `[]`),
		"claims no JSON":   compact(t, nil, header, `{`),
		"claim twice":      compact(t, nil, header, strings.Replace(claimsText, `{"aud"`, `{"sub":"x","aud"`, 1)),
		"claim's case":     compact(t, nil, header, strings.Replace(claimsText, `"sub"`, `"Sub"`, 1)),
		"no iat":           compact(t, nil, header, strings.Replace(claimsText, `"iat"`, `"iax"`, 1)),
		"no exp":           compact(t, nil, header, strings.Replace(claimsText, `"exp"`, `"exx"`, 1)),
		"fractional iat":   compact(t, nil, header, strings.Replace(claimsText, `1795341966`, `1795341966.5`, 1)),
		"iat as text":      compact(t, nil, header, strings.Replace(claimsText, `"iat":1795341966`, `"iat":"1795341966"`, 1)),
	} {
		if token, err := ParseToken(raw); err == nil {
			t.Errorf("%s: accepted as %+v", name, token.Claims)
		}
	}
	if _, err := ParseToken(valid); err != nil {
		t.Errorf("the token from which the others were made: %v", err)
	}
}

func TestVerifySignatureRefuses(t *testing.T) {
	key := newECKey(t)
	raw := compact(t, key, `{"alg":"ES256","kid":"k"}`, claimsText)
	token, err := ParseToken(raw)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]Key{
		"another key":       {Algorithm: "ES256", Public: &newECKey(t).PublicKey},
		"another algorithm": {Algorithm: "ES384", Public: &key.PublicKey},
		"no algorithm":      {Public: &key.PublicKey},
		"RSA key":           {Algorithm: "RS256", Public: &rsaKey.PublicKey},
		"huge RSA key": {
			Algorithm: "RS256", Public: &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), maxRSABits), E: 65537},
		},
		"RSA key called ES256":  {Algorithm: "ES256", Public: &rsaKey.PublicKey},
		"no key":                {Algorithm: "ES256"},
		"symmetric key":         {Algorithm: "ES256", Public: []byte("secret")},
		"private key by itself": {Algorithm: "ES256", Public: key},
	} {
		if err := token.VerifySignature(k); err == nil {
			t.Errorf("%s verifies", name)
		}
	}
	changed, err := ParseToken(strings.Replace(raw, raw[len(raw)-8:len(raw)-4], "AAAA", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := changed.VerifySignature(Key{Algorithm: "ES256", Public: &key.PublicKey}); err == nil {
		t.Error("a changed signature verifies")
	}
}

func TestParseJWK(t *testing.T) {
	private, err := json.Marshal(jose.JSONWebKey{Key: newECKey(t), KeyID: "k", Algorithm: "ES256"})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"private":   string(private),
		"symmetric": `{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}`,
		"off curve": `{"kty":"EC","crv":"P-256","alg":"ES256","x":"AQ","y":"AQ"}`,
		"twice":     `{"kty":"RSA","n":"AQAB","n":"AQAB","e":"AQAB"}`,
		"empty":     `{}`,
	} {
		if k, err := ParseJWK([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %+v", name, k)
		}
	}
}

func TestKindOf(t *testing.T) {
	for name, c := range map[string]struct {
		audience []string
		want     AudienceKind
	}{
		"payload":      {[]string{"tekton-result-signing:p:x"}, AudienceSigning},
		"fixed":        {[]string{"tekton-result-signing"}, AudienceSigning},
		"none":         {nil, AudienceCredential},
		"issuer":       {[]string{"https://issuer"}, AudienceCredential},
		"well known":   {[]string{"https://kubernetes.default.svc"}, AudienceCredential},
		"also the API": {[]string{"tekton-result-signing:p:x", "https://issuer"}, AudienceCredential},
		"other":        {[]string{"vault"}, AudienceForeign},
		"also other":   {[]string{"tekton-result-signing:p:x", "vault"}, AudienceForeign},
		"longer word":  {[]string{"tekton-result-signing-evil"}, AudienceForeign},
	} {
		if got := (Claims{Issuer: "https://issuer", Audience: c.audience}).KindOf("tekton-result-signing"); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(compact(f, nil, `{"alg":"ES256","kid":"k"}`, claimsText))
	f.Add(compact(f, nil, `{"alg":"RS256","kid":"k","typ":"JWT"}`, `{"iat":1,"exp":2,"aud":"x"}`))
	f.Add("..")
	key := Key{Algorithm: "ES256", Public: &newECKey(f).PublicKey}
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := ParseToken(raw)
		if err != nil {
			return
		}
		if token.VerifySignature(key) == nil {
			t.Error("nobody has signed with this key")
		}
		if binding, digest, err := token.Claims.Binding("p"); err == nil && binding == signing.BindingPayload &&
			token.Claims.Audience[0] != signing.PayloadAudience("p", digest) {
			t.Errorf("digest %x of audience %q", digest, token.Claims.Audience)
		}
	})
}

// Tokens of every algorithm that another implementation of RFC 7515 signed verify, with their own key only.
func TestVerifySignatureOfEveryAlgorithm(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[jose.SignatureAlgorithm]crypto.Signer{jose.RS256: rsaKey}
	for algorithm, curve := range map[jose.SignatureAlgorithm]elliptic.Curve{
		jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521(),
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[algorithm] = key
	}
	for algorithm, key := range keys {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign([]byte(claimsText))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		token, err := ParseToken(raw)
		if err != nil {
			t.Fatal(err)
		}
		for other, key := range keys {
			err := token.VerifySignature(Key{Algorithm: string(other), Public: key.Public()})
			if (err == nil) != (other == algorithm) {
				t.Errorf("token of %s with the key of %s: %v", algorithm, other, err)
			}
		}
		for i := range token.signature {
			token.signature[i] ^= 1
			if token.VerifySignature(Key{Algorithm: string(algorithm), Public: key.Public()}) == nil {
				t.Errorf("%s: byte %d of the signature may be changed", algorithm, i)
			}
			token.signature[i] ^= 1
		}
		token.signature = append(token.signature, 0)
		if token.VerifySignature(Key{Algorithm: string(algorithm), Public: key.Public()}) == nil {
			t.Errorf("%s: a byte may be appended to the signature", algorithm)
		}
	}
}

func TestBinding(t *testing.T) {
	const digest = "LXYCzdxswsVozwy5nWjv5pjAXTtk4o9pTFVt-WWJ4Sk"
	for name, c := range map[string]struct {
		audience []string
		want     signing.Binding
	}{
		"payload":          {[]string{"a:b:p:" + digest}, signing.BindingPayload},
		"key":              {[]string{"a:b:k:" + digest}, signing.BindingKey},
		"audience":         {[]string{"a:b"}, signing.BindingAudience},
		"none":             {nil, ""},
		"two":              {[]string{"a:b", "a:b"}, ""},
		"record":           {[]string{"a:b:r:" + digest}, ""},
		"colon at the end": {[]string{"a:b:"}, ""},
		"short digest":     {[]string{"a:b:k:" + digest[1:]}, ""},
		"stray bits":       {[]string{"a:b:k:" + digest[:42] + "l"}, ""},
		"padding":          {[]string{"a:b:k:" + digest + "="}, ""},
		"another prefix":   {[]string{"a:k:" + digest}, ""},
		"longer prefix":    {[]string{"a:b:c:k:" + digest}, ""},
		"digest alone":     {[]string{digest}, ""},
	} {
		if got, _, err := (Claims{Audience: c.audience}).Binding("a:b"); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	spki := func(key any) []byte {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	valid := spki(&newECKey(t).PublicKey)
	if _, err := ParsePublicKey(valid); err != nil {
		t.Errorf("a valid key: %v", err)
	}
	// The same key with an outer length in the long form.
	long := append([]byte{0x30, 0x81, 0x59}, valid[2:]...)
	for name, der := range map[string][]byte{
		"empty": nil, "trailing data": append(slices.Clone(valid), 0), "cut off": valid[:len(valid)-1], "long length": long,
		"P-384": spki(&p384.PublicKey), "Ed25519": spki(public), "too long": make([]byte, maxPublicKey+1),
		"compressed": compressed(t, valid),
	} {
		if key, err := ParsePublicKey(der); err == nil {
			t.Errorf("%s: got %v, want an error", name, key)
		}
	}
}

// compressed returns the same P-256 key with its point in compressed form.
func compressed(t *testing.T, der []byte) []byte {
	t.Helper()
	const pointAt = 26 // after the algorithm and the header of the bit string
	point := der[pointAt:]
	short := append([]byte{2 + point[64]&1}, point[1:33]...)
	out := append(slices.Clone(der[:pointAt]), short...)
	out[1] -= 32
	out[pointAt-2] -= 32
	return out
}

// Each key that can be read has only one form.
func FuzzPublicKey(f *testing.F) {
	der, err := x509.MarshalPKIXPublicKey(&newECKey(f).PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add(der[:40])
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := ParsePublicKey(der)
		if err != nil {
			return
		}
		if again, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(der, again) {
			t.Errorf("%x is written back as %x, %v", der, again, err)
		}
	})
}
