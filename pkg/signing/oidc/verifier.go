// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// MaxToken is the longest token that is read, in bytes.
const MaxToken = maxToken

// minRSABits is the size below which an RSA key is refused (NIST SP 800-131A).
const minRSABits = 2048

// maxRSABits is the size above which an RSA key is refused, because the time to verify a signature grows with
// its square.
const maxRSABits = 16384

// algorithms are the JWS algorithms (RFC 7518) with which API servers sign. All others are refused, above all
// none and the symmetric ones.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512}

// Token is a service account token with a valid form. Its claims are not trusted until VerifySignature has
// returned nil.
type Token struct {
	KeyID     string
	Algorithm string
	Claims    Claims

	signed    string // the signed bytes
	signature []byte
}

// Claims are the claims of a pod's token (RFC 7519, KEP-1205).
type Claims struct {
	ID             string // jti, empty from API servers before Kubernetes 1.30
	Issuer         string
	Subject        string
	Audience       []string
	IssuedAt       time.Time
	NotBefore      time.Time // zero if absent
	Expiry         time.Time
	Namespace      string
	ServiceAccount string
	Pod            string
	PodUID         string
}

// Key is one of an issuer's public keys.
type Key struct {
	Algorithm string // the only algorithm that the key is for
	Public    crypto.PublicKey
}

// tokenHeader has all members that the protected header may have. A header with its own key (jwk, jku, x5u,
// x5c) or with extensions (crit) is thus refused.
type tokenHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// tokenClaims is the JSON form of Claims.
type tokenClaims struct {
	ID         string        `json:"jti"`
	Issuer     string        `json:"iss"`
	Subject    string        `json:"sub"`
	Audience   audienceClaim `json:"aud"`
	IssuedAt   *int64        `json:"iat"`
	NotBefore  *int64        `json:"nbf"`
	Expiry     *int64        `json:"exp"`
	Kubernetes struct {
		Namespace      string    `json:"namespace"`
		Node           objectRef `json:"node"` // read because an unknown claim is slow to decode
		Pod            objectRef `json:"pod"`
		ServiceAccount objectRef `json:"serviceaccount"`
	} `json:"kubernetes.io"`
}

// ParseToken reads a compact JWS (RFC 7515) with the claims of a service account token. It checks only the
// form, which needs no key and no clock.
func ParseToken(raw string) (*Token, error) {
	if len(raw) > MaxToken {
		return nil, fmt.Errorf("expected a token of at most %d bytes, got %d", MaxToken, len(raw))
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("expected a token of 3 parts, got %d", len(parts))
	}
	decoded := make([][]byte, len(parts))
	for i, part := range parts {
		b, err := signing.DecodeBase64URL(part)
		if err != nil {
			return nil, fmt.Errorf("decoding part %d of the token: %w", i+1, err)
		}
		decoded[i] = b
	}
	var header tokenHeader
	if err := strictjson.Decode(decoded[0], &header); err != nil {
		return nil, fmt.Errorf("reading the token's header: %w", err)
	}
	if err := header.validate(); err != nil {
		return nil, err
	}
	claims, err := parseClaims(decoded[1])
	if err != nil {
		return nil, err
	}
	return &Token{
		KeyID: header.KeyID, Algorithm: header.Algorithm, Claims: claims,
		signed: raw[:len(parts[0])+1+len(parts[1])], signature: decoded[2],
	}, nil
}

func (h tokenHeader) validate() error {
	switch {
	case !slices.Contains(algorithms, jose.SignatureAlgorithm(h.Algorithm)):
		return fmt.Errorf("expected a token signed with one of %v, got %q", algorithms, h.Algorithm)
	case h.KeyID == "":
		return fmt.Errorf("the token names no key")
	case h.Type != "" && !strings.EqualFold(h.Type, "JWT"):
		return fmt.Errorf("expected a token of type %q, got %q", "JWT", h.Type)
	}
	return nil
}

func parseClaims(data []byte) (Claims, error) {
	var c tokenClaims
	if err := strictjson.DecodeOpen(data, &c); err != nil {
		return Claims{}, fmt.Errorf("reading the token's claims: %w", err)
	}
	if c.IssuedAt == nil || c.Expiry == nil {
		return Claims{}, fmt.Errorf("the token has no time of issue or no expiry")
	}
	claims := Claims{
		ID: c.ID, Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience,
		IssuedAt:       time.Unix(*c.IssuedAt, 0).UTC(),
		Expiry:         time.Unix(*c.Expiry, 0).UTC(),
		Namespace:      c.Kubernetes.Namespace,
		ServiceAccount: c.Kubernetes.ServiceAccount.Name,
		Pod:            c.Kubernetes.Pod.Name,
		PodUID:         c.Kubernetes.Pod.UID,
	}
	if c.NotBefore != nil {
		claims.NotBefore = time.Unix(*c.NotBefore, 0).UTC()
	}
	return claims, nil
}

// VerifySignature returns an error unless the token was signed with key. Only the key's own algorithm is
// accepted, and no other for the same key type.
func (t *Token) VerifySignature(key Key) error {
	if t.Algorithm != key.Algorithm {
		return fmt.Errorf("expected algorithm %q of the key, got %q", key.Algorithm, t.Algorithm)
	}
	if err := key.Validate(); err != nil {
		return err
	}
	if !key.verify([]byte(t.signed), t.signature) {
		return fmt.Errorf("the signature was not made with key %q", t.KeyID)
	}
	return nil
}

// verify reports whether the key, which is valid, made signature over data, in the form of RFC 7518: PKCS #1
// v1.5 for RSA, and for EC r and s, each as long as the curve's field.
func (k Key) verify(data, signature []byte) bool {
	var digest []byte
	switch jose.SignatureAlgorithm(k.Algorithm) {
	case jose.RS256, jose.ES256:
		sum := sha256.Sum256(data)
		digest = sum[:]
	case jose.ES384:
		sum := sha512.Sum384(data)
		digest = sum[:]
	case jose.ES512:
		sum := sha512.Sum512(data)
		digest = sum[:]
	default:
		return false
	}
	switch public := k.Public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature) == nil
	case *ecdsa.PublicKey:
		size := (public.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(public, digest, r, s)
	}
	return false
}

// Validate returns an error for a key that must not be used: its algorithm does not fit, or it has too few
// bits.
func (k Key) Validate() error {
	switch public := k.Public.(type) {
	case *rsa.PublicKey:
		if k.Algorithm != string(jose.RS256) {
			return fmt.Errorf("expected algorithm %q for an RSA key, got %q", jose.RS256, k.Algorithm)
		}
		if bits := public.N.BitLen(); bits < minRSABits {
			return fmt.Errorf("expected an RSA key of at least %d bits, got %d", minRSABits, bits)
		} else if bits > maxRSABits {
			return fmt.Errorf("expected an RSA key of at most %d bits, got %d", maxRSABits, bits)
		}
		return nil
	case *ecdsa.PublicKey:
		want := map[int]jose.SignatureAlgorithm{256: jose.ES256, 384: jose.ES384, 521: jose.ES512}
		if bits := public.Curve.Params().BitSize; k.Algorithm != string(want[bits]) || want[bits] == "" {
			return fmt.Errorf("expected algorithm %q for a key of %d bits, got %q", want[bits], bits, k.Algorithm)
		}
		return nil
	}
	return fmt.Errorf("expected an RSA or EC key, got %T", k.Public)
}

// ParseJWK returns the key in a JSON Web Key (RFC 7517). It returns an error for a private key. Call Validate
// to find out whether the key may be used.
func ParseJWK(data []byte) (Key, error) {
	if err := strictjson.Check(data); err != nil {
		return Key{}, fmt.Errorf("reading the key: %w", err)
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(data, &jwk); err != nil {
		return Key{}, fmt.Errorf("reading the key: %w", err)
	}
	if err := checkCanonical(data); err != nil {
		return Key{}, fmt.Errorf("reading the key: %w", err)
	}
	if !jwk.IsPublic() {
		return Key{}, fmt.Errorf("expected a public key")
	}
	return Key{Algorithm: jwk.Algorithm, Public: jwk.Key}, nil
}

// checkCanonical refuses a key whose numbers are not in canonical base64url, because the decoder ignores line
// breaks.
func checkCanonical(jwk []byte) error {
	var numbers struct{ N, E, X, Y string }
	if err := json.Unmarshal(jwk, &numbers); err != nil {
		return err
	}
	for _, number := range []string{numbers.N, numbers.E, numbers.X, numbers.Y} {
		if _, err := signing.DecodeBase64URL(number); err != nil {
			return err
		}
	}
	return nil
}

// AudienceKind is what anyone who holds a token can do with it.
type AudienceKind int

// The kinds of audiences.
const (
	AudienceForeign    AudienceKind = iota // neither a signing token nor a known credential
	AudienceSigning                        // a signing token, accepted by no API server
	AudienceCredential                     // the API server itself accepts it
)

// wellKnownAPIAudiences are the default and other common audiences of API servers.
var wellKnownAPIAudiences = []string{
	"https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local", "https://kubernetes.default",
	"kubernetes.default.svc", "kubernetes", "api",
}

// KindOf returns what anyone who holds a token with these claims can do with it. prefix is the prefix of
// signing audiences. A token without an audience, or for the issuer itself, or for a well-known API audience
// is a credential, because API servers use their issuer as audience unless configured otherwise.
func (c Claims) KindOf(prefix string) AudienceKind {
	if len(c.Audience) == 0 {
		return AudienceCredential
	}
	kind := AudienceSigning
	for _, audience := range c.Audience {
		switch {
		case audience == c.Issuer || slices.Contains(wellKnownAPIAudiences, audience):
			return AudienceCredential
		case audience != prefix && !strings.HasPrefix(audience, prefix+":"):
			kind = AudienceForeign
		}
	}
	return kind
}

// Binding returns what the token vouches for by its only audience, with the digest of the payload or of the
// public key. An audience that is only the prefix has no digest. prefix is the prefix of signing audiences.
func (c Claims) Binding(prefix string) (signing.Binding, signing.Digest, error) {
	if len(c.Audience) != 1 {
		return "", signing.Digest{}, fmt.Errorf("expected one audience, got %d", len(c.Audience))
	}
	audience := c.Audience[0]
	if audience == prefix {
		return signing.BindingAudience, signing.Digest{}, nil
	}
	kind, digest, err := signing.ParseAudience(prefix, audience)
	switch {
	case err != nil:
		return "", signing.Digest{}, err
	case kind == signing.AudiencePayload:
		return signing.BindingPayload, digest, nil
	case kind == signing.AudienceKey:
		return signing.BindingKey, digest, nil
	}
	return "", signing.Digest{}, fmt.Errorf("the audience %q is not one of a step", audience)
}

// maxPublicKey is the maximum length of an ephemeral key, in bytes. A P-256 key has 91.
const maxPublicKey = 256

// ParsePublicKey reads the public half of an ephemeral key: SPKI (RFC 5280) in DER, P-256. It accepts only
// the form that Go writes, so that a key has one digest.
func ParsePublicKey(der []byte) (*ecdsa.PublicKey, error) {
	if len(der) > maxPublicKey {
		return nil, fmt.Errorf("expected a public key of at most %d bytes, got %d", maxPublicKey, len(der))
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("expected a public key on P-256, got %T", parsed)
	}
	again, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("writing the public key: %w", err)
	}
	if !bytes.Equal(der, again) {
		return nil, fmt.Errorf("the public key is not in canonical form")
	}
	return key, nil
}
