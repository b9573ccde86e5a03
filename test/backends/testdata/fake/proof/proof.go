// SPDX-License-Identifier: Apache-2.0

// Package proof is the verifier half of a backend of a test. It trusts the keys of the authorities in the trust bundle.
package proof

import (
	"context"
	"crypto"
	"crypto/x509"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
)

// Reader trusts public keys, in SPKI form.
type Reader struct{ Trusted []string }

// Subject implements check.Reader.
func (Reader) Subject(run check.Run) string { return "fake:" + run.Namespace + "/" + run.Account }

// Read implements check.Reader.
func (r Reader) Read(e check.Evidence) (check.Proof, error) {
	der, err := signing.DecodeBase64URL(e.Carriers[signing.CarrierPublicKey])
	if err != nil {
		return nil, check.Unreadable(check.Key, "a public key", err, "the key cannot be read")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, check.Unreadable(check.Key, "a public key", err, "the key cannot be read")
	}
	return &proof{reader: r, header: e.Header, der: string(der), key: key}, nil
}

type proof struct {
	reader Reader
	header signing.Header
	der    string
	key    crypto.PublicKey
	run    check.Run
}

func (p *proof) Judge(_ context.Context, run check.Run) check.Judgement {
	p.run = run
	j := check.Judgement{Comparable: true, Trusted: slices.Contains(p.reader.Trusted, p.der),
		Checks: run.Within(p.header.SignedAt, "the step signed")}
	if !j.Trusted {
		j.MissingKey = "the step's"
		j.Checks = append(j.Checks, check.Doubted(check.Key, "a key of the trust bundle", "another one",
			"the trust bundle lacks the key"))
	}
	return j
}

func (p *proof) Signed() (*signing.Digest, crypto.PublicKey) { return nil, p.key }

func (p *proof) Who() check.Identity {
	return check.Identity{Subject: p.reader.Subject(p.run), KeyID: "fake"}
}

func (p *proof) When() check.SigningTime {
	return check.SigningTime{Source: check.TimeFromHeader, At: p.header.SignedAt}
}

func (p *proof) Sound() []check.Check {
	return []check.Check{check.Passed(check.Key, "the key is one of the trust bundle")}
}
