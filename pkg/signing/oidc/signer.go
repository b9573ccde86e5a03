// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// CredentialDir is where Kubernetes projects the token, the certificate authority and the namespace of a pod.
const CredentialDir = "/var/run/secrets/kubernetes.io/serviceaccount" // #nosec G101 -- a path

// SignerOptions describe the step of a Signer and its environment.
type SignerOptions struct {
	Step          step.Ended
	CredentialDir string           // folder with the files token and ca.crt
	Now           func() time.Time // clock for the header only
	Random        io.Reader        // for the keys of the step
}

// Signer gets a token of the pod's own service account, with which the cluster's issuer vouches for what a
// step emitted. With the binding payload, the token's audience contains the digest of the step's unit, and no
// key exists in the pod. With the other bindings, a key made for this step signs, and the audience contains
// the key's digest, or nothing.
type Signer struct {
	options SignerOptions
}

var _ signing.EntrypointerClient = (*Signer)(nil)

// NewSigner returns a signer for the step that options describe.
func NewSigner(options SignerOptions) *Signer { return &Signer{options: options} }

// Close does nothing.
func (s *Signer) Close() error { return nil }

// errNoAPIServer is the error for a step that an earlier version of the add-on injected.
var errNoAPIServer = errors.New("the add-on that injected this pod named no API server; " +
	"let the add-on and the signer image be of one version")

// Sign returns the carriers for what termination.ParseMessage returned. It asks the API server until ctx ends
// at the latest. Errors of the credentials, the request and the network are *signing.UnsignedError.
func (s *Signer) Sign(ctx context.Context, results []result.RunResult) ([]result.RunResult, error) {
	request, err := s.request()
	if err != nil {
		return nil, err
	}
	signed, audience, err := s.evidence(request.identity, results)
	if err != nil {
		return nil, err
	}
	request.audience = audience
	token, err := request.do(ctx)
	if err != nil {
		return nil, err
	}
	return append(signed, signing.NewCarrier(signing.CarrierToken, token)), nil
}

// request returns a request without its audience. It reads the pod's token only after it knows to which
// server alone the token will go.
func (s *Signer) request() (tokenRequest, error) {
	api, files := s.options.Step.Config.API, credentials{s.options.CredentialDir, s.options.Step.Config.Namespace}
	if !api.Known() {
		return tokenRequest{}, unreachable(errNoAPIServer)
	}
	if err := api.Validate(); err != nil {
		return tokenRequest{}, unreachable(fmt.Errorf("%w; let the add-on and the signer image be of one version", err))
	}
	if err := files.exist(); err != nil {
		return tokenRequest{}, noCredential(err)
	}
	r := tokenRequest{address: api.Address, lifetime: s.options.Step.Config.Tokens.Lifetime, hasty: s.options.Step.Hasty}
	var err error
	if r.roots, err = files.roots(api.CAs); err != nil {
		return tokenRequest{}, unreachable(err)
	}
	if r.identity, err = files.identity(); err != nil {
		return tokenRequest{}, noCredential(err)
	}
	return r, nil
}

func noCredential(err error) error {
	return &signing.UnsignedError{Reason: signing.UnsignedNoCredential, Err: err}
}

// evidence returns the carriers without the token, and the audience for the token.
func (s *Signer) evidence(id identity, results []result.RunResult) ([]result.RunResult, string, error) {
	c := s.options.Step.Config
	if c.Format == signing.FormatV2 && c.Binding == signing.BindingPayload {
		unit, err := s.unit(id, results)
		if err != nil {
			return nil, "", err
		}
		return []result.RunResult{signing.NewCarrier(signing.CarrierManifest, unit.Header.Manifest())},
			signing.PayloadAudience(c.Tokens.Audience, unit.Digest()), nil
	}
	key, err := newStepKey(s.options.Random)
	if err != nil {
		return nil, "", err
	}
	if c.Format == signing.FormatV1 {
		signed, err := key.signLegacy(results)
		return signed, key.audience(c), err
	}
	unit, err := s.unit(id, results)
	if err != nil {
		return nil, "", err
	}
	signed, err := key.signUnit(unit)
	return signed, key.audience(c), err
}

// unit describes the step and what it emitted.
func (s *Signer) unit(id identity, results []result.RunResult) (signing.Unit, error) {
	scheme := s.options.Step.Config.Binding.Scheme()
	pod := step.Pod{Name: id.pod, UID: id.podUID}
	return s.options.Step.Unit(pod, scheme, scheme.Algorithm(), s.options.Now(), results)
}
