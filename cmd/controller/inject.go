// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"errors"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// inject implements admission.Injector.
func (a *addOn) inject(pod *corev1.Pod, injection admission.Injection) (*corev1.Pod, string, error) {
	api, err := a.api.get()
	if err != nil {
		return nil, "", err
	}
	injected, err := inject.Pod(pod, inject.Options{
		SignerImage: a.signerImage,
		PullPolicy:  corev1.PullIfNotPresent,
		PullSecrets: injection.PullSecrets,
		Delivery:    inject.Delivery(injection.Delivery),
		Step:        injection.Step,
		API:         api,
		Patience:    injection.Patience,
		Required:    injection.Required,
		Tokens:      shortestTokens(a.trust.Cluster()),
		Volumes:     backends.Of(injection.Step.Backend).StepVolumes,
	})
	var skipped *inject.SkippedError
	if errors.As(err, &skipped) {
		return injected, skipped.Reason, nil
	}
	return injected, "", err
}

// shortestTokens returns the format of the shortest tokens that the cluster's issuer can sign now.
func shortestTokens(cluster *trust.Cluster) inject.TokenForm {
	var shortest inject.TokenForm
	if cluster == nil {
		return shortest
	}
	length := func(f inject.TokenForm) int { return len(f.Issuer) + f.KeyID + f.Signature }
	for _, issuer := range cluster.ServiceAccountIssuers {
		for _, key := range issuer.Keys {
			form := inject.TokenForm{Issuer: issuer.Issuer, KeyID: len(key.JWK.KeyID), Signature: signatureLength(key.JWK)}
			if key.NotAfter.IsZero() && (shortest == inject.TokenForm{} || length(form) < length(shortest)) {
				shortest = form
			}
		}
	}
	return shortest
}

// signatureLength returns the length of a signature in base64url. An RSA signature is as long as the modulus, and an
// ECDSA signature twice as long as a coordinate (RFC 7518).
func signatureLength(key trust.JWK) int {
	if key.N != "" {
		return len(key.N)
	}
	return base64.RawURLEncoding.EncodedLen(2 * base64.RawURLEncoding.DecodedLen(len(key.X)))
}
