// SPDX-License-Identifier: Apache-2.0

// Package fake is the in-pod half of a backend of a test: a key in a file signs what a step emitted.
package fake

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"io"
	"time"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// Signer signs for one step.
type Signer struct {
	Step     step.Config
	Pod      string
	PodUID   signing.UID
	ExitCode int32
	Key      crypto.Signer
	Now      time.Time
	Random   io.Reader
}

var _ signing.EntrypointerClient = Signer{}

// Close implements signing.EntrypointerClient.
func (Signer) Close() error { return nil }

// Sign implements signing.EntrypointerClient.
func (s Signer) Sign(_ context.Context, results []result.RunResult) ([]result.RunResult, error) {
	entries, err := signing.EntriesOf(results)
	if err != nil {
		return nil, err
	}
	unit := signing.Unit{
		Header: signing.Header{
			Scheme: signing.SchemeFake, Algorithm: signing.AlgorithmECDSAP256, PodUID: s.PodUID, TaskRunUID: s.Step.TaskRunUID,
			SignedAt: s.Now, Index: s.Step.Index, Count: s.Step.Count, Entries: uint16(len(entries)),
		},
		Namespace: s.Step.Namespace, TaskRun: s.Step.TaskRun, Pod: s.Pod, Container: s.Step.Container,
		ExitCode: s.ExitCode, Entries: entries,
	}
	if s.Step.Index == s.Step.Count-1 {
		unit.Header.Flags |= signing.FlagLast
	}
	signature, err := unit.Header.Algorithm.Sign(s.Random, s.Key, unit.Message())
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(s.Key.Public())
	if err != nil {
		return nil, err
	}
	carrier := func(name, value string) result.RunResult {
		return result.RunResult{Key: name, Value: value, ResultType: result.TaskRunResultType}
	}
	return []result.RunResult{
		carrier(signing.CarrierManifest, unit.Header.Manifest()),
		carrier(signing.CarrierManifestSignature, base64.RawURLEncoding.EncodeToString(signature)),
		carrier(signing.CarrierPublicKey, base64.RawURLEncoding.EncodeToString(spki)),
	}, nil
}
