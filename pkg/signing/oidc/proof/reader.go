// SPDX-License-Identifier: Apache-2.0

// Package proof is the verifying half of the backend oidc-sa-token: it reads the token in a step's evidence,
// and judges it with the keys of the cluster's issuers. It judges the token that proves a record of the
// add-on in the same way.
//
// It has no clock and no client. Only a [check.Reviewer] that the caller passes asks an API server.
package proof

import (
	"crypto/ecdsa"
	"fmt"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
)

// Policy is what a Reader trusts.
type Policy struct {
	check.Policy
	Keys      Keyring
	Recorders []string // subjects whose records are trusted
}

// Keyring holds the keys of issuers by issuer and key ID.
type Keyring map[string]map[string]Key

// Key is an issuer's key with the window in which it was seen in use; zero times are unknown.
type Key struct {
	oidc.Key
	Invalid             error // the reason if the key must not be used
	NotBefore, NotAfter time.Time
}

// Add adds a key, valid or not.
func (r Keyring) Add(issuer, keyID string, key oidc.Key, notBefore, notAfter time.Time) {
	if r[issuer] == nil {
		r[issuer] = map[string]Key{}
	}
	r[issuer][keyID] = Key{Key: key, Invalid: key.Validate(), NotBefore: notBefore, NotAfter: notAfter}
}

// issuerOf returns an issuer that has a key with this ID.
func (r Keyring) issuerOf(keyID string) (string, bool) {
	for issuer, keys := range r {
		if _, ok := keys[keyID]; ok {
			return issuer, true
		}
	}
	return "", false
}

// Reader reads the tokens in evidence and in records. It is immutable and safe for concurrent use.
type Reader struct{ policy Policy }

var _ check.Reader = (*Reader)(nil)

// NewReader returns a reader that trusts what policy names. Do not change policy afterwards.
func NewReader(policy Policy) *Reader { return &Reader{policy} }

// Subject returns the service account of the run.
func (r *Reader) Subject(run check.Run) string { return run.ServiceAccount() }

// Read reads the token, and the ephemeral key if the scheme has one.
func (r *Reader) Read(e check.Evidence) (check.Proof, error) {
	raw := e.Carriers[signing.CarrierToken]
	token, err := oidc.ParseToken(raw)
	if err != nil {
		return nil, check.Unreadable(check.Token, "a service account token", err, "the token cannot be read")
	}
	p := &proof{reader: r, evidence: e, raw: raw, token: token, scheme: e.Scheme}
	if e.Scheme.KeyCarrier() != "" {
		p.key, p.spki, p.keyError = publicKey(e)
	}
	return p, nil
}

// publicKey reads the ephemeral key of a unit, and also returns its DER form.
func publicKey(e check.Evidence) (*ecdsa.PublicKey, []byte, error) {
	decode := signing.DecodeBase64URL
	if e.Format == signing.FormatV1 {
		decode = signing.DecodeBase64
	}
	der, err := decode(e.Carriers[signing.CarrierPublicKey])
	if err != nil {
		return nil, nil, fmt.Errorf("decoding the public key: %w", err)
	}
	key, err := oidc.ParsePublicKey(der)
	return key, der, err
}
