// SPDX-License-Identifier: Apache-2.0

// Package proof is the verifying half of the backend spire: it reads the X.509-SVID in a step's evidence, and
// judges it with the authorities of the cluster's trust domain. It has no clock and opens no socket.
package proof

import (
	"cmp"
	"context"
	"crypto"
	"fmt"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
)

// Reader reads SVIDs and judges them. Only the authorities of the cluster's own trust domain identify
// TaskRuns. It knows the federated ones only to name them in checks. It is immutable and safe for concurrent
// use.
type Reader struct {
	trustDomain string
	own         *spire.Authorities
	federated   map[string]*spire.Authorities // by trust domain
}

var _ check.Reader = (*Reader)(nil)

// NewReader returns a reader for a cluster whose own trust domain is trustDomain; empty if unknown.
func NewReader(trustDomain string, own []spire.Authority, federated map[string][]spire.Authority) *Reader {
	r := &Reader{trustDomain: trustDomain, own: spire.NewAuthorities(own), federated: map[string]*spire.Authorities{}}
	for domain, list := range federated {
		r.federated[domain] = spire.NewAuthorities(list)
	}
	return r
}

// Subject returns the SPIFFE ID of the run in the cluster's own trust domain.
func (r *Reader) Subject(run check.Run) string {
	return spire.TaskRunID(r.trustDomain, run.Namespace, run.Name)
}

// Read reads the certificates.
func (r *Reader) Read(e check.Evidence) (check.Proof, error) {
	parse := spire.ParseChain
	if e.Format == signing.FormatV1 {
		parse = spire.ParseLegacy
	}
	svid, err := parse(e.Carriers[signing.CarrierSVID])
	if err != nil {
		return nil, check.Unreadable(check.Certificate, "an X.509-SVID", err, "the certificate cannot be read")
	}
	return &proof{reader: r, format: e.Format, at: e.Header.SignedAt, svid: svid}, nil
}

// proof is the SVID of one step. It is not safe for concurrent use.
type proof struct {
	reader *Reader
	format signing.Format
	svid   *spire.SVID

	run       check.Run
	at        time.Time        // when the step signed; zero if unknown
	authority *spire.Authority // the authority at the end of the chain
}

// Signed returns the key of the certificate.
func (p *proof) Signed() (*signing.Digest, crypto.PublicKey) { return nil, p.svid.Leaf.PublicKey }

// Who returns the TaskRun's own ID, because Judge refutes every other.
func (p *proof) Who() check.Identity {
	id := check.Identity{Subject: p.reader.Subject(p.run)}
	if p.authority != nil {
		id.KeyID = p.authority.Fingerprint()
	}
	return id
}

// When returns the time in the header, or in format v1 in the status.
func (p *proof) When() check.SigningTime {
	if p.format == signing.FormatV2 {
		return check.SigningTime{Source: check.TimeFromHeader, At: p.at}
	}
	return check.SigningTime{Source: check.TimeFromStatus, At: p.at}
}

// Judge checks whose certificate it is, when it was valid, and which authority it leads to. If the authority
// is unknown, it still checks everything else, because a mismatch refutes the evidence no matter who signed
// it.
func (p *proof) Judge(_ context.Context, run check.Run) check.Judgement {
	p.run = run
	if p.format == signing.FormatV1 {
		p.at = run.Ended
	}
	j := check.Judgement{Comparable: true}
	if err := p.svid.CheckUsage(); err != nil {
		j.Checks = append(j.Checks, check.Refuted(check.Certificate, "the certificate of a workload", err.Error(),
			"the certificate is not for signing results"))
	}
	j.Checks = append(j.Checks, p.name()...)
	if p.reader.trustDomain == "" { // as of an authority that is not known yet
		j.MissingKey = cmp.Or(p.svid.IssuerKeyID(), p.svid.Leaf.Issuer.String())
	}
	valid, checks := p.validity()
	j.Checks = append(j.Checks, checks...)
	if valid {
		p.chain(&j)
	}
	j.Trusted = p.authority != nil
	return j
}

// name checks that the certificate is this TaskRun's.
func (p *proof) name() []check.Check {
	id, err := p.svid.ID()
	if err != nil {
		return []check.Check{check.Refuted(check.Subject, "one SPIFFE ID", err.Error(),
			"the certificate does not name its owner")}
	}
	own, want := p.reader.trustDomain, p.reader.Subject(p.run)
	switch domain := spire.TrustDomain(id); {
	case own == "":
		return []check.Check{check.Doubted(check.TrustDomain, "the trust domain of the cluster in the trust bundle", "none",
			"the trust bundle does not name the cluster's own trust domain: export it again where SPIRE runs")}
	case domain != own:
		return []check.Check{check.Refuted(check.TrustDomain, fmt.Sprintf("%q", own), fmt.Sprintf("%q", cmp.Or(domain, id)),
			"the certificate is of another trust domain than the cluster's own: such certificates never identify TaskRuns")}
	case id != want:
		return []check.Check{check.Refuted(check.Subject, want, fmt.Sprintf("%q", id),
			"the certificate is that of another TaskRun or workload")}
	}
	return nil
}

// validity checks that the step signed while the certificate was valid and the TaskRun ran. It never adjusts
// the time to fit. It reports whether there is a time at which to judge the chain.
func (p *proof) validity() (bool, []check.Check) {
	if p.at.IsZero() {
		return false,
			[]check.Check{check.Refuted(check.Time, "the time at which the step ended", "none",
				"nothing shows when the step signed")}
	}
	var checks []check.Check
	leaf := p.svid.Leaf
	if earliest := p.run.Created.Add(-check.RunTolerance); leaf.NotBefore.Before(earliest) {
		checks = append(checks, check.Refuted(check.Time, "a certificate from after "+earliest.UTC().Format(check.TimeFormat),
			leaf.NotBefore.UTC().Format(check.TimeFormat), "the certificate is older than the TaskRun"))
	}
	checks = append(checks, p.run.Within(p.at, "the step signed")...)
	if p.at.Before(leaf.NotBefore) || p.at.After(leaf.NotAfter) {
		return false,
			append(checks, check.Refuted(check.Time, check.Window(leaf.NotBefore, leaf.NotAfter),
				p.at.UTC().Format(check.TimeFormat),
				"the certificate was not valid when the step signed"))
	}
	return true, checks
}

// Sound returns the passed checks of a trusted certificate.
func (p *proof) Sound() []check.Check {
	return []check.Check{
		check.Passed(check.Certificate, "issued by the authority "+p.authority.Fingerprint()),
		check.Passed(check.TrustDomain, p.reader.trustDomain+", the cluster's own"),
		check.Passed(check.Subject, p.reader.Subject(p.run)),
		check.Passed(check.Signature, "made by the key of the certificate"),
		check.Passed(check.Time, "signed at "+p.at.Format(check.TimeFormat)+", while the certificate was valid"),
	}
}
