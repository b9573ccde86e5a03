// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
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
	Random        io.Reader        // for the keys of the step
	Entries       []signing.Entry  // what travels by the log of Tekton's results sidecar, if the step's values do
}

// Signer has the cluster's issuer vouch for what a step emitted, by a token of the pod's own service account. Bound to the
// payload, the token's audience carries the digest of the step's unit, and no key exists in the pod. Otherwise a key that is
// made for the one step signs, and the audience carries its digest, or nothing.
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

// Sign returns the carriers for what termination.ParseMessage returned. It asks the API server until ctx ends at most. Failures
// of the credentials, the request and the network are *signing.UnsignedError.
func (s *Signer) Sign(ctx context.Context, results []result.RunResult) ([]result.RunResult, error) {
	id, err := readIdentity(s.options.CredentialDir, s.options.Step.Namespace)
	if err != nil {
		return nil, &signing.UnsignedError{Reason: signing.UnsignedNoCredential, Err: err}
	}
	if s.options.Host == "" || s.options.Port == "" {
		return nil, unreachable(errNoAddress)
	}
	signed, audience, err := s.evidence(id, results)
	if err != nil {
		return nil, err
	}
	request := tokenRequest{
		host: s.options.Host, port: s.options.Port, identity: id,
		audience: audience, lifetime: s.options.Step.TokenLifetime,
	}
	token, err := request.do(ctx)
	if err != nil {
		return nil, err
	}
	return append(signed, carrier(signing.CarrierToken, token)), nil
}

// evidence returns the carriers but for the token, and the audience of that.
func (s *Signer) evidence(id identity, results []result.RunResult) ([]result.RunResult, string, error) {
	c := s.options.Step
	if c.Format == signing.FormatV2 && c.Binding == signing.BindingPayload {
		unit, err := s.unit(id, results)
		if err != nil {
			return nil, "", err
		}
		return []result.RunResult{carrier(signing.CarrierManifest, unit.Header.Manifest())},
			signing.PayloadAudience(c.AudiencePrefix, unit.Digest()), nil
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

func carrier(name, value string) result.RunResult {
	return result.RunResult{Key: name, Value: value, ResultType: result.TaskRunResultType}
}

// unit describes the step and what it emitted.
func (s *Signer) unit(id identity, results []result.RunResult) (signing.Unit, error) {
	c := s.options.Step
	entries, err := s.entries(results)
	if err != nil {
		return signing.Unit{}, err
	}
	header := signing.Header{
		Scheme: c.Binding.Scheme(), Algorithm: signing.AlgorithmNone,
		PodUID: id.podUID, TaskRunUID: c.TaskRunUID,
		SignedAt: s.options.Now().UTC().Truncate(time.Second),
		Index:    c.Index, Count: c.Count, Entries: uint16(len(entries)), // #nosec G115 -- entries returns no more
	}
	if c.Binding != signing.BindingPayload {
		header.Algorithm = signing.AlgorithmECDSAP256
	}
	if c.Values != nil {
		header.Flags |= signing.FlagSidecarLogs
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

// entries returns what the unit vouches for: what stands in the message, or what travels by the sidecar's log.
func (s *Signer) entries(results []result.RunResult) ([]signing.Entry, error) {
	if s.options.Step.Values == nil {
		return signing.EntriesOf(results)
	}
	if n := len(s.options.Entries); n > math.MaxUint16 {
		return nil, fmt.Errorf("%d entries are more than the %d that evidence can count", n, math.MaxUint16)
	}
	return s.options.Entries, nil
}
