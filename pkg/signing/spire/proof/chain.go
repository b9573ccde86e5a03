// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
)

// maxLinks is how many signatures of certificates are verified at most for one TaskRun and its attempts.
// Hostile chains can need many.
const maxLinks = 1024

// chain verifies the chain from the certificate to an authority of the cluster's own trust domain, at the
// time of signing.
func (p *proof) chain(j *check.Judgement) {
	domain := p.reader.trustDomain
	if domain == "" {
		return // name reports it
	}
	if !p.followable(j) {
		return
	}
	found, err := p.svid.Verify(p.reader.own, p.at)
	federated := ""
	if errors.Is(err, spire.ErrUnknownAuthority) {
		federated = p.federatedAuthority()
	}
	switch {
	case err == nil:
		p.settleAuthority(j, found)
	case !errors.Is(err, spire.ErrUnknownAuthority):
		j.Checks = append(j.Checks, check.Refuted(check.Certificate, "a chain to an authority of "+domain, err.Error(),
			"the certificate is not valid"))
	case federated != "":
		j.Checks = append(j.Checks, check.Refuted(check.TrustDomain, "an authority of "+domain, "an authority of "+federated,
			"a federated trust domain issued the certificate: it never identifies TaskRuns of this cluster"))
	default:
		j.MissingKey = cmp.Or(p.svid.IssuerKeyID(), p.svid.Leaf.Issuer.String())
		j.Checks = append(j.Checks, check.Doubted(check.Certificate,
			fmt.Sprintf("the authority %s of %s in the trust bundle", j.MissingKey, domain), err.Error(), p.missingAuthority()))
	}
}

// followable reports whether the chain can be verified in reasonable time. In a hostile chain, every
// certificate may claim to be signed by every other.
func (p *proof) followable(j *check.Judgement) bool {
	if p.run.Links == nil {
		p.run.Links = new(int)
	}
	n := len(p.svid.Intermediates)
	*p.run.Links += 1 + n*n
	if *p.run.Links <= maxLinks {
		return true
	}
	j.Checks = append(j.Checks, check.Doubted(check.Certificate,
		fmt.Sprintf("at most %d links between certificates", maxLinks),
		fmt.Sprintf("%d links", *p.run.Links), "the TaskRun has too many certificates to follow them all"))
	return false
}

// missingAuthority returns the next step for a chain that does not end at a known authority.
func (p *proof) missingAuthority() string {
	if p.format == signing.FormatV1 {
		return "the trust bundle lacks the authority: use one from before it was retired; format v1 leaves intermediate " +
			"certificates out, so that the bundle must hold them too"
	}
	return "the trust bundle lacks the authority: use one of this cluster, from before the authority was retired"
}

// federatedAuthority returns the federated trust domain whose authority issued the certificate. It is empty
// if there is none.
func (p *proof) federatedAuthority() string {
	for _, domain := range slices.Sorted(maps.Keys(p.reader.federated)) {
		if _, err := p.svid.Verify(p.reader.federated[domain], p.at); err == nil {
			return domain
		}
	}
	return ""
}

// settleAuthority compares the windows of the authorities with the time of signing. One authority that was in
// use then is enough.
func (p *proof) settleAuthority(j *check.Judgement, found []spire.Authority) {
	var latest time.Time
	for i := range found {
		a := &found[i]
		if a.NotAfter.IsZero() || !p.at.After(a.NotAfter.Add(check.RotationTolerance)) {
			p.authority = a
			j.Checks = append(j.Checks, p.early(a)...)
			return
		}
		if a.NotAfter.After(latest) {
			latest = a.NotAfter
		}
	}
	j.Checks = append(j.Checks, check.Refuted(check.Certificate,
		"a signature from before "+latest.Format(check.TimeFormat),
		p.at.UTC().Format(check.TimeFormat), "the authority was retired at the time of signing"))
}

// early adds a note if the authority was first seen after the step signed.
func (p *proof) early(a *spire.Authority) []check.Check {
	if !p.at.Before(a.NotBefore) {
		return nil
	}
	return []check.Check{{
		ID: check.Certificate, Status: check.Note,
		Expected: "a signature from after " + a.NotBefore.Format(check.TimeFormat), Got: p.at.UTC().Format(check.TimeFormat),
		Message: "the authority was first seen after the time of signing",
	}}
}
