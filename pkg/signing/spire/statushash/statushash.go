// SPDX-License-Identifier: Apache-2.0

// Package statushash reads and writes the annotations with which Tekton's controller vouches for the status
// of a TaskRun with its SVID (TEP-0089, phase 2), in the form of Tekton's own pkg/spire. It is separate from
// package spire because it needs Tekton's types.
package statushash

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
)

// The annotations.
const (
	AnnotationHash      = "tekton.dev/status-hash"     // hex SHA-256
	AnnotationSignature = "tekton.dev/status-hash-sig" // over the hash, as format v1 signs a value
	AnnotationSVID      = "tekton.dev/controller-svid" // PEM, the leaf alone
	// AnnotationNotVerified exists, with any value, if Tekton's controller found that someone changed the
	// status.
	AnnotationNotVerified = "tekton.dev/spire-verified"
)

// Hash returns the hex SHA-256 of the status in the form that Tekton hashes: the JSON of v1beta1, without
// conditions and annotations.
func Hash(ctx context.Context, tr *v1.TaskRun) (string, error) {
	beta := &v1beta1.TaskRun{} // shares memory with tr and changes it, hence the copy
	if err := beta.ConvertFrom(ctx, tr.DeepCopy()); err != nil {
		return "", fmt.Errorf("converting the TaskRun to v1beta1: %w", err)
	}
	fields, err := json.Marshal(beta.Status.TaskRunStatusFields)
	if err != nil {
		return "", fmt.Errorf("encoding the status: %w", err)
	}
	sum := sha256.Sum256(fields)
	return hex.EncodeToString(sum[:]), nil
}

// Append signs the status as it is with the key of the controller's SVID, and annotates it. chain begins with
// the leaf. Tekton's annotation holds the leaf only, so an authority itself must have issued it.
func Append(
	ctx context.Context, random io.Reader, tr *v1.TaskRun, chain []*x509.Certificate, key crypto.Signer,
) error {
	if len(chain) == 0 {
		return fmt.Errorf("the controller's SVID has no certificate")
	}
	hash, err := Hash(ctx, tr)
	if err != nil {
		return err
	}
	signature, err := signing.SignLegacyValue(random, key, hash)
	if err != nil {
		return fmt.Errorf("signing the status: %w", err)
	}
	if tr.Status.Annotations == nil {
		tr.Status.Annotations = map[string]string{}
	}
	tr.Status.Annotations[AnnotationSVID] = spire.FormatLegacy(chain[0])
	tr.Status.Annotations[AnnotationHash] = hash
	tr.Status.Annotations[AnnotationSignature] = signature
	return nil
}

// Verify returns an error unless the annotations vouch for the status as it is. at is when they were made;
// the SVID is judged at that time. Unlike Tekton's own verifier, it requires the SVID to have the
// controller's ID, controllerID. Otherwise, every workload of the trust domain could sign for the controller.
func Verify(
	ctx context.Context, tr *v1.TaskRun, authorities *spire.Authorities, controllerID string, at time.Time,
) error {
	annotations := tr.Status.Annotations
	if _, ok := annotations[AnnotationNotVerified]; ok {
		return fmt.Errorf("expected no annotation %s, got one: Tekton's controller found that the status had been changed",
			AnnotationNotVerified)
	}
	for _, name := range []string{AnnotationSVID, AnnotationHash, AnnotationSignature} {
		if annotations[name] == "" {
			return fmt.Errorf("expected the annotation %s of the status, got none", name)
		}
	}
	svid, err := spire.ParseLegacy(annotations[AnnotationSVID])
	if err != nil {
		return fmt.Errorf("the controller's SVID: %w", err)
	}
	if err := checkController(svid, authorities, controllerID, at); err != nil {
		return fmt.Errorf("the controller's SVID: %w", err)
	}
	signed := annotations[AnnotationHash]
	if err := signing.VerifyLegacy(svid.Leaf.PublicKey, signed, annotations[AnnotationSignature]); err != nil {
		return fmt.Errorf("the signature of the status: %w", err)
	}
	hash, err := Hash(ctx, tr)
	if err != nil {
		return err
	}
	if hash != signed {
		return fmt.Errorf("expected a status with the hash %s, got %s: it was changed after it was signed", signed, hash)
	}
	return nil
}

// checkController returns an error if an SVID is not one with which the controller may sign at this time.
func checkController(s *spire.SVID, authorities *spire.Authorities, controllerID string, at time.Time) error {
	if err := s.CheckUsage(); err != nil {
		return err
	}
	id, err := s.ID()
	if err != nil {
		return err
	}
	if id != controllerID {
		return fmt.Errorf("expected %q, got %q", controllerID, id)
	}
	_, err = s.Verify(authorities, at)
	return err
}
