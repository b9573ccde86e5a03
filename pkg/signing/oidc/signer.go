// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"errors"
	"time"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// CredentialDir is where Kubernetes projects the token, the certificate authority and the namespace of a pod.
const CredentialDir = "/var/run/secrets/kubernetes.io/serviceaccount" // #nosec G101 -- a path

// SignerOptions are what a Signer needs to know of its step and of its surroundings.
type SignerOptions struct {
	Step          step.Config
	ExitCode      int32            // status with which the container will exit
	CredentialDir string           // folder with the files token and ca.crt
	Host, Port    string           // API server
	Now           func() time.Time // clock for the header, and for nothing else
}

// Signer signs payload-bound: the audience of a service account token carries the digest of the step's unit, so that the
// cluster's issuer vouches for it and no key exists in the pod.
type Signer struct {
	options SignerOptions
}

var _ signing.EntrypointerClient = (*Signer)(nil)

// NewSigner returns a signer for the one step that options describe.
func NewSigner(options SignerOptions) *Signer { return &Signer{options: options} }

// Close has nothing to release.
func (s *Signer) Close() error { return nil }

// errNoAddress is the failure of a step whose environment was emptied of what the kubelet sets.
var errNoAddress = errors.New("the address of the API server is unknown; " +
	"leave KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT in the step's environment as the kubelet sets them")

// Sign returns RESULT_MANIFEST and SIGNING_TOKEN for what termination.ParseMessage returned. It asks the API server until ctx
// ends at most. Failures of the credentials, the request and the network are *signing.UnsignedError.
func (s *Signer) Sign(ctx context.Context, results []result.RunResult) ([]result.RunResult, error) {
	id, err := readIdentity(s.options.CredentialDir, s.options.Step.Namespace)
	if err != nil {
		return nil, &signing.UnsignedError{Reason: signing.UnsignedNoCredential, Err: err}
	}
	if s.options.Host == "" || s.options.Port == "" {
		return nil, unreachable(errNoAddress)
	}
	unit, err := s.unit(id, results)
	if err != nil {
		return nil, err
	}
	request := tokenRequest{
		host: s.options.Host, port: s.options.Port, identity: id,
		audience: signing.PayloadAudience(s.options.Step.AudiencePrefix, unit.Digest()),
	}
	token, err := request.do(ctx)
	if err != nil {
		return nil, err
	}
	return []result.RunResult{
		{Key: signing.CarrierManifest, Value: unit.Header.Manifest(), ResultType: result.TaskRunResultType},
		{Key: signing.CarrierToken, Value: token, ResultType: result.TaskRunResultType},
	}, nil
}

// unit describes the step and what it emitted.
func (s *Signer) unit(id identity, results []result.RunResult) (signing.Unit, error) {
	entries, err := signing.EntriesOf(results)
	if err != nil {
		return signing.Unit{}, err
	}
	c := s.options.Step
	header := signing.Header{
		Scheme: signing.SchemeOIDCPayloadBound, Algorithm: signing.AlgorithmNone,
		PodUID: id.podUID, TaskRunUID: c.TaskRunUID,
		SignedAt: s.options.Now().UTC().Truncate(time.Second),
		Index:    c.Index, Count: c.Count, Entries: uint16(len(entries)), // #nosec G115 -- EntriesOf returns no more
	}
	if c.Index == c.Count-1 {
		header.Flags |= signing.FlagLast
	}
	if s.options.ExitCode != 0 {
		header.Flags |= signing.FlagStepFails
	}
	if err := header.Validate(); err != nil {
		return signing.Unit{}, err
	}
	return signing.Unit{
		Header: header, Namespace: c.Namespace, TaskRun: c.TaskRun, Pod: id.pod, Container: c.Container,
		ExitCode: signing.ExitCodeOf(results, s.options.ExitCode), Entries: entries,
	}, nil
}
