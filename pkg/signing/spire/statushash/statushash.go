// SPDX-License-Identifier: Apache-2.0

// Package statushash reads and writes the annotations with which a controller vouches for the status of a
// TaskRun with its SVID (TEP-0089, phase 2). There are two forms. Form v1 is that of Tekton's own pkg/spire: it
// does not name the TaskRun, and leaves the conditions out. Form v2 is the add-on's. The package is separate from
// package spire because it needs Tekton's types. It does not decide which SVID is a controller's.
package statushash

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/canonical"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
)

// Form is how a status is hashed.
type Form string

// The forms.
const (
	FormV1 Form = "v1"
	FormV2 Form = "v2"
)

// Caps of the annotations, in bytes. The certificates have their own.
const (
	maxHash      = 128
	maxSignature = 1024 // that of an RSA key of 4096 bits takes 684
)

// prefix begins a hash of form v2.
const prefix = signing.OwnStatusForm

// Errors of Parse about annotations that are not wrong.
var (
	ErrNone      = errors.New("the status is not signed")
	ErrOtherForm = errors.New("the status is signed in a form of another version")
)

var (
	plainHash = regexp.MustCompile(`^[0-9a-f]{64}$`)
	otherForm = regexp.MustCompile(`^v[0-9]{1,4}\.[ -~]+$`)
)

// Unchanged reports whether nobody has noted that the status was changed since it was signed.
func Unchanged(tr *v1.TaskRun) bool {
	_, noted := tr.Status.Annotations[signing.StatusNotVerified]
	return !noted
}

// Signature is a signature over a status, parsed. Nothing in it is proven.
type Signature struct {
	Form Form
	At   time.Time // when it was made; zero in form v1
	SVID *spire.SVID

	text      string // the hash annotation, which is what is signed
	signature string
}

// Parse reads the annotations of a status. It returns ErrNone if there are none, and ErrOtherForm for a form that
// this version does not know.
func Parse(annotations map[string]string) (*Signature, error) {
	text, hashed := annotations[signing.StatusHash]
	signature, signed := annotations[signing.StatusSignature]
	certificates, certified := annotations[signing.StatusCertificates]
	switch {
	case !hashed && !signed && !certified:
		return nil, ErrNone
	case !hashed || !signed || !certified:
		return nil, fmt.Errorf("expected the three annotations %s, %s and %s, got only some of them", signing.StatusHash,
			signing.StatusSignature, signing.StatusCertificates)
	case len(text) > maxHash || len(signature) > maxSignature:
		return nil, fmt.Errorf("expected a hash of at most %d bytes and a signature of at most %d, got %d and %d", maxHash,
			maxSignature, len(text), len(signature))
	}
	s := &Signature{text: text, signature: signature}
	if err := s.parseHash(); err != nil {
		return nil, err
	}
	parse := spire.ParsePEM
	if s.Form == FormV1 {
		parse = spire.ParseLegacy
	}
	var err error
	if s.SVID, err = parse(certificates); err != nil {
		return nil, fmt.Errorf("the controller's SVID: %w", err)
	}
	return s, nil
}

// parseHash reads the hash annotation: 64 hex digits, or v2, the time and 64 hex digits, joined by points.
func (s *Signature) parseHash() error {
	rest, ok := strings.CutPrefix(s.text, prefix)
	switch {
	case plainHash.MatchString(s.text):
		s.Form = FormV1
		return nil
	case !ok && otherForm.MatchString(s.text):
		return ErrOtherForm
	case !ok:
		return fmt.Errorf("expected a SHA-256 in hex, or one after %s and a time, got another text", prefix)
	}
	s.Form = FormV2
	at, hash, _ := strings.Cut(rest, ".")
	var err error
	if s.At, err = time.Parse(time.RFC3339, at); err != nil || textOf(s.At) != at || !plainHash.MatchString(hash) {
		return fmt.Errorf("expected %s, a time in UTC and whole seconds, a point and a SHA-256 in hex, got another text",
			prefix)
	}
	return nil
}

func textOf(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// CheckSignature returns an error unless the key of the SVID made the signature.
func (s *Signature) CheckSignature() error {
	return signing.VerifyLegacy(s.SVID.Leaf.PublicKey, s.text, s.signature)
}

// CheckStatus returns an error unless the status is the one that was hashed.
func (s *Signature) CheckStatus(ctx context.Context, tr *v1.TaskRun) error {
	var now string
	var err error
	if s.Form == FormV1 {
		now, err = Hash(ctx, tr)
	} else {
		now, err = HashV2(tr, s.At)
	}
	switch {
	case err != nil:
		return err
	case now != s.text:
		return fmt.Errorf("the hash %s", now)
	}
	return nil
}

// Hashed returns the hash annotation, to show it.
func (s *Signature) Hashed() string { return s.text }

// Hash returns the hash annotation of form v1: the hex SHA-256 of the status in the form that Tekton hashes, the
// JSON of v1beta1, without conditions and annotations.
func Hash(ctx context.Context, tr *v1.TaskRun) (string, error) {
	beta := &v1beta1.TaskRun{} // shares memory with tr and changes it, hence the copy
	if err := beta.ConvertFrom(ctx, tr.DeepCopy()); err != nil {
		return "", fmt.Errorf("converting the TaskRun to v1beta1: %w", err)
	}
	fields, err := json.Marshal(beta.Status.TaskRunStatusFields)
	if err != nil {
		return "", fmt.Errorf("encoding the status: %w", err)
	}
	return hexSHA256(fields), nil
}

// document is what form v2 hashes.
type document struct {
	Namespace string           `json:"namespace"`
	Name      string           `json:"name"`
	UID       string           `json:"uid"`
	SignedAt  string           `json:"signedAt"`
	Status    v1.TaskRunStatus `json:"status"` // without annotations
}

// HashV2 returns the hash annotation of form v2: v2, the time, and the hex SHA-256 of the RFC 8785 form of an
// object with the TaskRun's namespace, name and UID, the time, and the whole status but its annotations. A status
// with an object of too many members, or with an integer that a float cannot hold, cannot be hashed.
func HashV2(tr *v1.TaskRun, at time.Time) (string, error) {
	d := document{Namespace: tr.Namespace, Name: tr.Name, UID: string(tr.UID), SignedAt: textOf(at), Status: tr.Status}
	d.Status.Annotations = nil
	encoded, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("encoding the status: %w", err)
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber() // a float would make other integers of large ones, and so would the canonical form
	if err := decoder.Decode(&value); err != nil {
		return "", fmt.Errorf("encoding the status: %w", err)
	}
	if err := canonical.Check(value); err != nil {
		return "", fmt.Errorf("the status cannot be signed: %w", err)
	}
	if encoded, err = canonical.JSON(value); err != nil {
		return "", fmt.Errorf("the status: %w", err)
	}
	return prefix + d.SignedAt + "." + hexSHA256(encoded), nil
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Sign signs the status as it is, in form v2, with the key of an SVID, and annotates it. chain begins with the
// leaf, and at is now.
func Sign(random io.Reader, tr *v1.TaskRun, chain []*x509.Certificate, key crypto.Signer, at time.Time) error {
	if len(chain) == 0 {
		return fmt.Errorf("the controller's SVID has no certificate")
	}
	text, err := HashV2(tr, at)
	if err != nil {
		return err
	}
	signature, err := signing.SignLegacyValue(random, key, text)
	if err != nil {
		return fmt.Errorf("signing the status: %w", err)
	}
	if tr.Status.Annotations == nil {
		tr.Status.Annotations = map[string]string{}
	}
	tr.Status.Annotations[signing.StatusHash] = text
	tr.Status.Annotations[signing.StatusSignature] = signature
	tr.Status.Annotations[signing.StatusCertificates] = spire.FormatPEM(chain)
	return nil
}
