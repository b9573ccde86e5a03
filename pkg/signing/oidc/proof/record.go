// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
)

// recordProof is the token that vouches for a record of the add-on.
type recordProof struct {
	reader *Reader
	token  *oidc.Token
	digest signing.Digest // of the record's statement
	run    check.Run
}

// ReadRecord reads the token of a record whose statement has this digest. Its judgement has one check at
// most: the first reason not to trust the record.
func (r *Reader) ReadRecord(raw string, digest signing.Digest) (check.Proof, error) {
	token, err := oidc.ParseToken(raw)
	if err != nil {
		return nil, check.Unreadable(check.Record, "a service account token as proof", err,
			"the record's proof cannot be read")
	}
	return &recordProof{reader: r, token: token, digest: digest}, nil
}

// Judge checks that the proof is for this record, from a trusted recorder, and from a possible time. An
// unknown key proves nothing and refutes nothing.
func (p *recordProof) Judge(_ context.Context, run check.Run) check.Judgement {
	p.run = run
	trust, checks := p.reader.judgeToken(p.token, p)
	if trust == keyUnknown {
		return check.Judgement{MissingKey: p.token.KeyID, Checks: []check.Check{{
			ID: check.Record, Status: check.Warn,
			Expected: "a key of the trust bundle", Got: fmt.Sprintf("%s of %s", p.token.KeyID, p.token.Claims.Issuer),
			Message: "the record cannot be used, its proof was signed with an unknown key: export the trust bundle again",
		}}}
	}
	for _, c := range checks {
		if c.Status == check.Fail || c.Status == check.Unknown {
			return check.Judgement{Checks: []check.Check{c}}
		}
	}
	return check.Judgement{Trusted: true}
}

// Signed returns the digest of the record's statement.
func (p *recordProof) Signed() (*signing.Digest, crypto.PublicKey) { return &p.digest, nil }

// Who returns the recorder.
func (p *recordProof) Who() check.Identity {
	return check.Identity{Subject: p.token.Claims.Subject, Issuer: p.token.Claims.Issuer, KeyID: p.token.KeyID}
}

// When returns when the proof was issued.
func (p *recordProof) When() check.SigningTime {
	return check.SigningTime{Source: check.TimeFromToken, At: p.token.Claims.IssuedAt, Trusted: true}
}

// Sound returns nothing: the verifier compares the record's verdict with its own.
func (p *recordProof) Sound() []check.Check { return nil }

func (p *recordProof) words() words {
	return words{
		token: check.Record, key: check.Record, signature: check.Record,
		name: "the record's proof", kind: "a proof", valid: "a proof valid at once", suffix: ", of the record's proof,",
		signed: " the record's proof",
	}
}

func (p *recordProof) audience(c oidc.Claims) []check.Check {
	prefix := p.reader.policy.Audience
	if c.KindOf(prefix) == oidc.AudienceCredential {
		return []check.Check{check.Refuted(check.CredentialLeak,
			"the one audience "+signing.AudienceForm(prefix, signing.AudienceRecord, "<digest>"), fmt.Sprintf("%q", c.Audience),
			"critical: the API server itself accepts the token in the record")}
	}
	if want := []string{signing.RecordAudience(prefix, p.digest)}; !slices.Equal(c.Audience, want) {
		return []check.Check{check.Refuted(check.Record, fmt.Sprintf("%q", want), fmt.Sprintf("%q", c.Audience),
			"the proof is not one of this record")}
	}
	return nil
}

func (p *recordProof) owner(c oidc.Claims) []check.Check {
	account := "system:serviceaccount:" + c.Namespace + ":" + c.ServiceAccount
	recorders := p.reader.policy.Recorders
	if slices.Contains(recorders, c.Subject) && c.Subject == account {
		return nil
	}
	return []check.Check{check.Refuted(check.Record, "a record by "+strings.Join(recorders, " or "),
		fmt.Sprintf("one by %s, account %s", c.Subject, account), "the recorder is not trusted to record")}
}

func (p *recordProof) time(c oidc.Claims) []check.Check {
	earliest := p.run.Created.Add(-check.RunTolerance)
	if !p.run.Completed.IsZero() {
		earliest = p.run.Completed.Add(-check.RunTolerance)
	}
	if c.IssuedAt.Before(earliest) {
		return []check.Check{check.Refuted(check.Record, "a proof from after "+earliest.UTC().Format(check.TimeFormat),
			c.IssuedAt.UTC().Format(check.TimeFormat), "the record was made before the TaskRun completed")}
	}
	return p.run.Future(c.IssuedAt, "the record was made")
}
