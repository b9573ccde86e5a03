// SPDX-License-Identifier: Apache-2.0

// Package workload is the half of the backend spire that runs in a step: it signs with an SVID from SPIRE's
// agent, through the Workload API (SPIFFE).
package workload

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// SignerOptions describe the step of a Signer and its environment.
type SignerOptions struct {
	Step   step.Ended
	Root   string           // folder below which the paths of the pod are
	Now    func() time.Time // clock for the header and the retries
	Random io.Reader        // for signatures
}

// Signer signs what a step emitted with the key of the X.509-SVID that SPIRE issues to the TaskRun's pod. It
// asks SPIRE's agent on the node, by the Workload API, after the step has ended. The key stays in memory.
type Signer struct {
	options SignerOptions
}

var _ signing.EntrypointerClient = (*Signer)(nil)

// NewSigner returns a signer for the step that options describe.
func NewSigner(options SignerOptions) *Signer { return &Signer{options: options} }

// Close does nothing.
func (s *Signer) Close() error { return nil }

// Sign returns the carriers for what termination.ParseMessage returned. It asks the agent until ctx ends at
// the latest. An identity that does not come in time is an *signing.UnsignedError.
func (s *Signer) Sign(ctx context.Context, results []result.RunResult) ([]result.RunResult, error) {
	pod, err := readPod(s.options.Root)
	if err != nil {
		return nil, &signing.UnsignedError{Reason: signing.UnsignedSVIDTimeout, Err: err}
	}
	svid, err := s.fetch(ctx)
	if err != nil {
		return nil, &signing.UnsignedError{Reason: signing.UnsignedSVIDTimeout, Err: err}
	}
	if s.options.Step.Config.Format == signing.FormatV1 {
		return s.signLegacy(svid, results)
	}
	return s.signUnit(svid, pod, results)
}

// signUnit returns the carriers of format v2.
func (s *Signer) signUnit(svid *x509svid.SVID, pod step.Pod, results []result.RunResult) ([]result.RunResult, error) {
	algorithm := signing.AlgorithmOf(svid.PrivateKey.Public())
	if algorithm == signing.AlgorithmNone {
		return nil, &signing.UnsignedError{Reason: signing.UnsignedSVIDTimeout, Err: fmt.Errorf(
			"SPIRE issued a key of type %T, with which results cannot be signed: "+
				"set workload_x509_svid_key_type of SPIRE's agent to ec-p256 or rsa-2048", svid.PrivateKey.Public())}
	}
	unit, err := s.options.Step.Unit(pod, signing.SchemeSPIRE, algorithm, s.options.Now(), results)
	if err != nil {
		return nil, err
	}
	signature, err := algorithm.Sign(s.options.Random, svid.PrivateKey, unit.Message())
	if err != nil {
		return nil, fmt.Errorf("signing the step's unit: %w", err)
	}
	return []result.RunResult{
		signing.NewCarrier(signing.CarrierManifest, unit.Header.Manifest()),
		signing.NewCarrier(signing.CarrierManifestSignature, base64.RawURLEncoding.EncodeToString(signature)),
		signing.NewCarrier(signing.CarrierSVID, spire.FormatChain(svid.Certificates)),
	}, nil
}

// signLegacy returns the carriers of format v1, in the order of Tekton's own signer. That format has no room
// for intermediate certificates.
func (s *Signer) signLegacy(svid *x509svid.SVID, results []result.RunResult) ([]result.RunResult, error) {
	signed, err := signing.SignLegacy(s.options.Random, svid.PrivateKey, results)
	if err != nil {
		return nil, err
	}
	leaf := signing.NewCarrier(signing.CarrierSVID, spire.FormatLegacy(svid.Certificates[0]))
	return append([]result.RunResult{leaf}, signed...), nil
}
