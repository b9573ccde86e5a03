// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// evidence signs a unit with the scheme of the run and returns its carriers by name.
func (r *Run) evidence(c *Cluster, index int, unit signing.Unit) (map[string]string, error) {
	if r.Sign != nil {
		return r.Sign(index, unit)
	}
	switch r.Scheme.KeyCarrier() {
	case signing.CarrierSVID:
		return r.signSPIRE(c, index, unit)
	case signing.CarrierPublicKey:
		return r.signKey(c, index, unit)
	}
	token, err := r.token(c, index, signing.PayloadAudience(signing.AudiencePrefix, unit.Digest()))
	if err != nil {
		return nil, err
	}
	return map[string]string{signing.CarrierManifest: unit.Header.Manifest(), signing.CarrierToken: token}, nil
}

// signKey signs with an ephemeral key. A token vouches for the key or, with an audience-only token, comes
// with it.
func (r *Run) signKey(c *Cluster, index int, unit signing.Unit) (map[string]string, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	carriers, err := r.sign(key, index, unit)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	audience := signing.KeyAudience(signing.AudiencePrefix, spki)
	if r.Scheme == signing.SchemeOIDCAudienceOnly {
		audience = signing.AudiencePrefix
	}
	carriers[signing.CarrierPublicKey] = base64.RawURLEncoding.EncodeToString(spki)
	if r.Format == signing.FormatV1 {
		carriers[signing.CarrierPublicKey] = base64.StdEncoding.EncodeToString(spki)
	}
	carriers[signing.CarrierToken], err = r.token(c, index, audience)
	return carriers, err
}

// signSPIRE signs with the key of an SVID. SPIRE's agent gives all steps of a pod the same one.
func (r *Run) signSPIRE(c *Cluster, index int, unit signing.Unit) (map[string]string, error) {
	if r.Key == nil {
		key, err := NewKey()
		if err != nil {
			return nil, err
		}
		r.Key = key
	}
	issuer := cmp.Or(r.Steps[index].Issuer, c.CA)
	if issuer == nil {
		return nil, fmt.Errorf("the virtual cluster issues no SVIDs: set its CA")
	}
	chain, err := issuer.SVID(r.Namespace, r.Name, r.Key.Public(), r.Steps[index].SVID)
	if err != nil {
		return nil, err
	}
	carriers, err := r.sign(r.Key, index, unit)
	if err != nil {
		return nil, err
	}
	carriers[signing.CarrierSVID] = carrierOf(chain, r.Format == signing.FormatV1)
	return carriers, nil
}

// sign returns manifest and signatures of a unit.
func (r *Run) sign(key crypto.Signer, index int, unit signing.Unit) (map[string]string, error) {
	if r.Format == signing.FormatV1 {
		signed, err := signing.SignLegacy(rand.Reader, key, r.Steps[index].Entries)
		if err != nil {
			return nil, err
		}
		carriers := map[string]string{}
		for _, s := range signed {
			carriers[s.Key] = s.Value
		}
		return carriers, nil
	}
	signature, err := unit.Header.Algorithm.Sign(rand.Reader, key, unit.Message())
	if err != nil {
		return nil, err
	}
	return map[string]string{
		signing.CarrierManifest:          unit.Header.Manifest(),
		signing.CarrierManifestSignature: base64.RawURLEncoding.EncodeToString(signature),
	}, nil
}

// token returns the token of a step for an audience.
func (r *Run) token(c *Cluster, index int, audience string) (string, error) {
	claims := r.claims(audience)
	claims["jti"] = fmt.Sprintf("%s-%d", r.PodUID, index)
	if r.Scheme == signing.SchemeOIDCAudienceOnly {
		claims["jti"] = r.PodUID // one projected token for the whole pod
	}
	step := &r.Steps[index]
	if step.Claims != nil {
		step.Claims(claims)
	}
	if step.Token != nil {
		return step.Token(claims), nil
	}
	return c.Token(claims)
}

// claims returns what an API server puts into a token of the run's pod (Kubernetes 1.35).
func (r *Run) claims(audience string) map[string]any {
	issued := signedAt().Unix()
	account := cmp.Or(r.ServiceAccount, "default")
	return map[string]any{
		"aud": []string{audience},
		"exp": issued + 600, "iat": issued, "nbf": issued,
		"iss": Issuer,
		"sub": "system:serviceaccount:" + r.Namespace + ":" + account,
		"kubernetes.io": map[string]any{
			"namespace":      r.Namespace,
			"node":           map[string]any{"name": "node-1", "uid": "6c5b5f4c-6a3c-4f0b-9a07-0d9d6f0f8a11"},
			"pod":            map[string]any{"name": r.PodName(), "uid": r.PodUID},
			"serviceaccount": map[string]any{"name": account, "uid": "a4b9a1d0-30f4-44e5-8a6a-3a3f1f6f2b77"},
		},
	}
}
