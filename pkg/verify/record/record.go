// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/canonical"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// PredicateType is the predicate type of a record's statement.
const PredicateType = "https://tekton-sign.dev/record/v1"

// Caps of a record, in bytes.
const (
	MaxBytes    = 256 << 10 // of the annotation
	maxPayloads = 64 << 10  // of all units' payloads: longer ones are left out
)

// prefix begins the annotation's value.
const prefix = "v1."

// subjectName is the name of the statement's only subject.
const subjectName = "taskrun"

// Record is what the add-on found when it verified a completed TaskRun. Strings and lists are empty if there
// was nothing to record.
type Record struct {
	TaskRun   string // hex SHA-256 of the TaskRun's projection
	Predicate Predicate
}

// Predicate is the content of a record.
type Predicate struct {
	Cluster   string  `json:"cluster"` // UID of the namespace kube-system
	PodUID    string  `json:"podUID"`  // of the live pod, which belonged to the TaskRun
	Attempt   int     `json:"attempt"` // counted from 0
	Verdict   string  `json:"verdict"`
	Checks    []Check `json:"checks"`
	Backend   string  `json:"backend"`
	Assurance string  `json:"assurance"`
	Units     []Unit  `json:"units"`
	// The kid of the issuer's keys, or the hex SHA-256 of the authorities' certificates.
	Keys            []string          `json:"keys"`
	VerifiedAt      time.Time         `json:"verifiedAt"`
	AddOnVersion    string            `json:"addOnVersion"`
	WithoutMessages string            `json:"withoutMessages"`    // digest of Projection.WithoutMessages
	Fields          map[string]string `json:"fields"`             // Projection.Fields, without messages
	Basis           Basis             `json:"basis,omitempty"`    // empty for the evidence, as in every record v1
	Receipt         *Receipt          `json:"receipt,omitempty"`  // only in a record v2
	Attempts        []Attempt         `json:"attempts,omitempty"` // only in a record v2
}

// Check is the outcome of one check.
type Check struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// Unit describes what the evidence of one step covers.
type Unit struct {
	Container string `json:"container"`
	Payload   string `json:"payload"` // base64url, empty if the payloads are too long to be kept
	Digest    string `json:"digest"`  // hex SHA-256 of the unit's message
}

// statement is the in-toto Statement of a record.
type statement struct {
	Type          string    `json:"_type"`
	Predicate     Predicate `json:"predicate"`
	PredicateType string    `json:"predicateType"`
	Subject       []subject `json:"subject"`
}

type subject struct {
	Digest struct {
		SHA256 string `json:"sha256"`
	} `json:"digest"`
	Name string `json:"name"`
}

// New returns the record of tr as it is now. It sets the members of p that describe its subject, and leaves
// out payloads that are too long.
func New(tr *v1.TaskRun, p Predicate) (Record, error) {
	s, err := describe(tr)
	if err != nil {
		return Record{}, err
	}
	p.WithoutMessages, p.Fields = s.withoutMessages, s.fields
	p.Attempt = len(tr.Status.RetriesStatus)
	p.VerifiedAt = p.VerifiedAt.UTC().Truncate(time.Second)
	p.Checks = append([]Check{}, p.Checks...)
	p.Keys = append([]string{}, p.Keys...)
	p.Units = append([]Unit{}, p.Units...)
	total := 0
	for _, u := range p.Units {
		total += len(u.Payload)
	}
	if total > maxPayloads {
		for i := range p.Units {
			p.Units[i].Payload = ""
		}
	}
	return Record{TaskRun: s.digest, Predicate: p}, nil
}

// description is the part of a record that describes its TaskRun.
type description struct {
	digest, withoutMessages string
	fields                  map[string]string // without messages
}

func describe(tr *v1.TaskRun) (d description, err error) {
	p, err := Project(tr)
	if err != nil {
		return d, err
	}
	if d.digest, err = p.Digest(); err != nil {
		return d, err
	}
	bare := p.WithoutMessages()
	if d.withoutMessages, err = bare.Digest(); err != nil {
		return d, err
	}
	d.fields, err = bare.Fields()
	return d, err
}

// UnitOf describes the evidence of one step.
func UnitOf(container string, u signing.Unit) Unit {
	digest := u.Digest()
	return Unit{
		Container: container, Payload: base64.RawURLEncoding.EncodeToString(u.Payload()),
		Digest: hex.EncodeToString(digest[:]),
	}
}

// Statement returns R, the in-toto Statement (v1) of the record in the form of RFC 8785.
func (r Record) Statement() ([]byte, error) {
	s := statement{
		Type: signing.StatementType, Predicate: r.Predicate, PredicateType: r.Predicate.predicateType(),
		Subject: []subject{{Name: subjectName}},
	}
	s.Subject[0].Digest.SHA256 = r.TaskRun
	return canonical.JSON(s)
}

// DigestOf returns the digest of a statement, for which the proof vouches.
func DigestOf(statement []byte) signing.Digest { return sha256.Sum256(signing.MessageOf(statement)) }

// Encode returns the annotation's value: the statement and its proof, a JWT.
func Encode(statement []byte, token string) (string, error) {
	text := prefix + base64.RawURLEncoding.EncodeToString(statement) + "." + token
	if len(text) > MaxBytes {
		return "", fmt.Errorf("expected a record of at most %d bytes, got %d", MaxBytes, len(text))
	}
	return text, nil
}

// Encoded is an annotation's value, parsed. Nothing in it is proven.
type Encoded struct {
	Record    Record
	Statement []byte // R
	Token     string // the proof
}

// Decode reads an annotation's value. There is one text for each record: if R is not in the form of RFC 8785,
// or has a missing or an unknown member, Decode returns an error.
func Decode(text string) (Encoded, error) {
	if len(text) > MaxBytes {
		return Encoded{}, fmt.Errorf("expected a record of at most %d bytes, got %d", MaxBytes, len(text))
	}
	rest, ok := strings.CutPrefix(text, prefix)
	encoded, token, found := strings.Cut(rest, ".")
	if !ok || !found || token == "" {
		return Encoded{}, fmt.Errorf("expected a record of the form %s<statement>.<token>, got another form", prefix)
	}
	raw, err := signing.DecodeBase64URL(encoded)
	if err != nil {
		return Encoded{}, fmt.Errorf("decoding the record: %w", err)
	}
	var s statement
	if err := strictjson.Decode(raw, &s); err != nil {
		return Encoded{}, fmt.Errorf("reading the record: %w", err)
	}
	if err := s.validate(); err != nil {
		return Encoded{}, fmt.Errorf("reading the record: %w", err)
	}
	r := Record{TaskRun: s.Subject[0].Digest.SHA256, Predicate: s.Predicate}
	again, err := r.Statement()
	if err != nil {
		return Encoded{}, err
	}
	if !bytes.Equal(raw, again) {
		return Encoded{}, fmt.Errorf("reading the record: expected the form of RFC 8785 with every member, got another form")
	}
	return Encoded{Record: r, Statement: raw, Token: token}, nil
}

func (s statement) validate() error {
	p := s.Predicate
	switch {
	case s.Type != signing.StatementType || s.PredicateType != p.predicateType():
		return fmt.Errorf("expected a statement of type %q about %q, got %q about %q",
			signing.StatementType, p.predicateType(), s.Type, s.PredicateType)
	case len(s.Subject) != 1 || s.Subject[0].Name != subjectName:
		return fmt.Errorf("expected one subject %q, got %d", subjectName, len(s.Subject))
	case p.Attempt < 0:
		return fmt.Errorf("expected an attempt counted from 0, got %d", p.Attempt)
	case p.VerifiedAt.Format(time.RFC3339Nano) != p.VerifiedAt.UTC().Format(time.RFC3339):
		return fmt.Errorf("expected a time in UTC and whole seconds, got %s", p.VerifiedAt.Format(time.RFC3339Nano))
	case p.Checks == nil || p.Units == nil || p.Keys == nil || p.Fields == nil:
		return fmt.Errorf("expected checks, units, keys and fields, got null")
	case len(p.Fields) > maxMembers:
		return fmt.Errorf("expected at most %d fields, got %d", maxMembers, len(p.Fields))
	}
	if err := p.validateReceipt(); err != nil {
		return err
	}
	digests := append([]string{s.Subject[0].Digest.SHA256, p.WithoutMessages}, p.receiptDigests()...)
	for _, u := range p.Units {
		digests = append(digests, u.Digest)
	}
	for _, digest := range digests {
		if b, err := hex.DecodeString(digest); err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != digest {
			return fmt.Errorf("expected a SHA-256 in hex, got %q", digest)
		}
	}
	if _, err := signing.ParseUID(p.Cluster); err != nil {
		return fmt.Errorf("the cluster: %w", err)
	}
	return nil
}
