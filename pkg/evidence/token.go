// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// The kinds of audiences, by what anyone who reads the token can do with it.
const (
	audiencePayload    = "payload-bound" // nothing: it vouches for one statement
	audienceKey        = "key-bound"     // nothing: it vouches for one key
	audienceRecord     = "record"        // nothing: it vouches for one record of the add-on
	audienceOnly       = "audience-only" // sign anything, as long as the token is valid
	audienceCredential = "credential"    // act as the service account: the API server accepts it
	audienceForeign    = "foreign"       // unknown: it is not for signing
)

func (s *Step) decodeToken(carriers map[string]string, prefix string) {
	raw, ok := carriers[signing.CarrierToken]
	if !ok {
		return
	}
	s.Token = tokenOf(raw, prefix)
	if s.Token.Problem != "" {
		s.problem("the token cannot be read: %s", s.Token.Problem)
	}
	if s.Token.AudienceKind == audienceCredential {
		s.problem("the API server itself may accept this token: anyone who reads the TaskRun can act as its service account")
	}
}

func tokenOf(raw, prefix string) *Token {
	t := &Token{Bytes: len(raw)}
	parsed, err := oidc.ParseToken(raw)
	if len(raw) <= oidc.MaxToken {
		t.HeaderJSON, t.ClaimsJSON = tokenParts(raw)
	}
	if err != nil {
		t.Problem = err.Error()
		return t
	}
	c := parsed.Claims
	t.Algorithm, t.KeyID = parsed.Algorithm, parsed.KeyID
	t.Claims = &Claims{
		Issuer: c.Issuer, Subject: c.Subject, Audience: append([]string{}, c.Audience...),
		IssuedAt: timeText(c.IssuedAt), Expiry: timeText(c.Expiry), ID: c.ID,
		Namespace: c.Namespace, ServiceAccount: c.ServiceAccount, Pod: c.Pod, PodUID: c.PodUID,
	}
	if !c.NotBefore.IsZero() {
		t.Claims.NotBefore = timeText(c.NotBefore)
	}
	t.AudienceKind, t.Digest = audienceOf(c, prefix)
	return t
}

// tokenParts returns the text of a token's header and claims, as far as they can be decoded.
func tokenParts(raw string) (header, claims string) {
	parts := strings.SplitN(raw, ".", 4)
	if b, err := signing.DecodeBase64URL(parts[0]); err == nil {
		header = string(b)
	}
	if len(parts) > 1 {
		if b, err := signing.DecodeBase64URL(parts[1]); err == nil {
			claims = string(b)
		}
	}
	return header, claims
}

// recordDigest returns the digest in the audience of a token that proves a record of the add-on.
func recordDigest(c oidc.Claims, prefix string) (string, bool) {
	if len(c.Audience) != 1 {
		return "", false
	}
	kind, digest, err := signing.ParseAudience(prefix, c.Audience[0])
	return hex.EncodeToString(digest[:]), err == nil && kind == signing.AudienceRecord
}

// audienceOf returns the kind of a token's audience, and the digest in it.
func audienceOf(c oidc.Claims, prefix string) (kind, digest string) {
	switch c.KindOf(prefix) {
	case oidc.AudienceCredential:
		return audienceCredential, ""
	case oidc.AudienceSigning:
	default:
		return audienceForeign, ""
	}
	if digest, ok := recordDigest(c, prefix); ok {
		return audienceRecord, digest
	}
	binding, sum, err := c.Binding(prefix)
	switch {
	case err != nil:
		return audienceForeign, ""
	case binding == signing.BindingPayload:
		return audiencePayload, hex.EncodeToString(sum[:])
	case binding == signing.BindingKey:
		return audienceKey, hex.EncodeToString(sum[:])
	}
	return audienceOnly, ""
}

// PayloadBound is the exported form of payload-bound evidence: a statement with the token that vouches for
// it.
type PayloadBound struct {
	APIVersion  string `json:"apiVersion"` // tekton-sign.dev/v1alpha1
	Kind        string `json:"kind"`       // PayloadBoundStatement
	PayloadType string `json:"payloadType"`
	Payload     string `json:"payload"` // the statement's bytes, base64
	Token       string `json:"token"`   // compact JWS, RFC 7515
	JWKS        *JWKS  `json:"jwks,omitempty"`
}

// Values of PayloadBound.
const (
	PayloadBoundAPIVersion = "tekton-sign.dev/v1alpha1"
	PayloadBoundKind       = "PayloadBoundStatement"
)

// JWKS is a JSON Web Key Set (RFC 7517) with the key that signed the token.
type JWKS struct {
	Keys []json.RawMessage `json:"keys"`
}

// exportStatement exports payload-bound evidence.
func exportStatement(
	in verify.InspectedStep, unit signing.Unit, options ExportOptions,
) (data []byte, note string, err error) {
	raw := in.Carriers[signing.CarrierToken]
	token, err := oidc.ParseToken(raw)
	if err != nil {
		return nil, "", fmt.Errorf("the evidence is not well-formed: %w: see -o table", err)
	}
	if kind, _ := audienceOf(token.Claims, options.Audience); kind != audiencePayload {
		return nil, "", fmt.Errorf("the token is %s and vouches for no statement, so it is not exported: "+
			"anyone who holds it may be able to use it", kind)
	}
	out := PayloadBound{
		APIVersion: PayloadBoundAPIVersion, Kind: PayloadBoundKind,
		PayloadType: signing.PayloadType, Payload: base64Of(unit.Statement()), Token: raw,
	}
	if options.IssuerKey != nil {
		if key := options.IssuerKey(token.Claims.Issuer, token.KeyID); key != nil {
			out.JWKS = &JWKS{Keys: []json.RawMessage{key}}
		}
	}
	if out.JWKS == nil {
		note = fmt.Sprintf("without jwks: key %q of issuer %q is not known: pass --trust-bundle FILE", token.KeyID,
			token.Claims.Issuer)
	}
	data, err = json.Marshal(out)
	return data, note, err
}
