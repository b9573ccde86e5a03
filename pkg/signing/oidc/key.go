// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// stepKey is a key with which one step signs once. The signer makes it after the step has ended, so that no
// process of the step can have seen it. It never leaves the signer's memory.
type stepKey struct {
	private *ecdsa.PrivateKey
	spki    []byte // the public key, DER
	random  io.Reader
}

func newStepKey(random io.Reader) (stepKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return stepKey{}, fmt.Errorf("making the step's key: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return stepKey{}, fmt.Errorf("encoding the step's key: %w", err)
	}
	return stepKey{private: private, spki: spki, random: random}, nil
}

// audience returns the audience of the token that vouches for the key, or only for the pod.
func (k stepKey) audience(c step.Config) string {
	if c.Binding == signing.BindingAudience {
		return signing.FixedAudience(c.Tokens.Audience)
	}
	return signing.KeyAudience(c.Tokens.Audience, k.spki)
}

// signUnit returns the carriers of format v2 without the token.
func (k stepKey) signUnit(unit signing.Unit) ([]result.RunResult, error) {
	signature, err := signing.AlgorithmECDSAP256.Sign(k.random, k.private, unit.Message())
	if err != nil {
		return nil, fmt.Errorf("signing the step's unit: %w", err)
	}
	return []result.RunResult{
		signing.NewCarrier(signing.CarrierManifest, unit.Header.Manifest()),
		signing.NewCarrier(signing.CarrierManifestSignature, base64.RawURLEncoding.EncodeToString(signature)),
		signing.NewCarrier(signing.CarrierPublicKey, base64.RawURLEncoding.EncodeToString(k.spki)),
	}, nil
}

// signLegacy returns the carriers of format v1 without the token.
func (k stepKey) signLegacy(results []result.RunResult) ([]result.RunResult, error) {
	signed, err := signing.SignLegacy(k.random, k.private, results)
	if err != nil {
		return nil, err
	}
	return append(signed, signing.NewCarrier(signing.CarrierPublicKey, base64.StdEncoding.EncodeToString(k.spki))), nil
}
