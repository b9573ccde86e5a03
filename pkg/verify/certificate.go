// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
)

// taskRunID is the SPIFFE ID of the TaskRun in the cluster's own trust domain.
func (j *judge) taskRunID() string {
	return spire.TaskRunID(j.v.spiffe.trustDomain, j.tr.Namespace, j.tr.Name)
}

// verifySVID checks the certificate of a unit and what its key signed. A chain that ends at an unknown authority leaves open whose
// certificate it is: then everything else is still compared, because a mismatch refutes the evidence whoever signed it.
func (j *judge) verifySVID(u *unit) {
	parse := spire.ParseChain
	if u.kind.format == signing.FormatV1 {
		parse = spire.ParseLegacy
	}
	svid, err := parse(u.step.carriers[signing.CarrierSVID])
	if err != nil {
		j.refute(u, CheckCertificate, "an X.509-SVID", err.Error(), "the certificate cannot be read")
		return
	}
	u.svid = svid
	if err := svid.CheckUsage(); err != nil {
		j.refute(u, CheckCertificate, "the certificate of a workload", err.Error(), "the certificate is not for signing results")
	}
	j.verifyName(u)
	if j.verifyValidity(u) {
		j.verifyChain(u)
	}
	j.verifyDetached(u, svid.Leaf.PublicKey)
}

// verifyName checks that the certificate is this TaskRun's.
func (j *judge) verifyName(u *unit) {
	id, err := u.svid.ID()
	if err != nil {
		j.refute(u, CheckSubject, "one SPIFFE ID", err.Error(), "the certificate does not say whose it is")
		return
	}
	own := j.v.spiffe.trustDomain
	switch domain := spire.TrustDomain(id); {
	case own == "":
		j.doubt(u, CheckTrustDomain, "the trust domain of the cluster in the trust bundle", "none",
			"the trust bundle does not say which trust domain is the cluster's own: export it again where SPIRE runs")
	case domain != own:
		j.refute(u, CheckTrustDomain, fmt.Sprintf("%q", own), fmt.Sprintf("%q", cmp.Or(domain, id)),
			"the certificate is of another trust domain than the cluster's own: such certificates never identify TaskRuns")
	case id != j.taskRunID():
		j.refute(u, CheckSubject, j.taskRunID(), fmt.Sprintf("%q", id), "the certificate is that of another TaskRun or workload")
	}
}

// verifyValidity finds out when the unit was signed, and checks that this was while the certificate was valid and the TaskRun
// ran. The time is never moved to fit. It reports whether there is a time at which to judge the chain.
func (j *judge) verifyValidity(u *unit) bool {
	u.at = u.header.SignedAt
	if u.kind.format == signing.FormatV1 {
		u.at = u.step.state.Terminated.FinishedAt.Time
	}
	if u.at.IsZero() {
		j.refute(u, CheckTime, "the time at which the step ended", "none", "nothing says when the step signed")
		return false
	}
	leaf := u.svid.Leaf
	if earliest := j.tr.CreationTimestamp.Add(-runTolerance); leaf.NotBefore.Before(earliest) {
		j.refute(u, CheckTime, "a certificate from after "+earliest.UTC().Format(timeFormat), leaf.NotBefore.UTC().Format(timeFormat),
			"the certificate is older than the TaskRun")
	}
	j.verifyTime(u, u.at, "the step signed")
	if u.at.Before(leaf.NotBefore) || u.at.After(leaf.NotAfter) {
		j.refute(u, CheckTime, window(leaf.NotBefore, leaf.NotAfter), u.at.UTC().Format(timeFormat),
			"the certificate was not valid when the step signed")
		return false
	}
	return true
}

// verifyChain follows the certificate to an authority of the cluster's own trust domain, as of when it signed.
func (j *judge) verifyChain(u *unit) {
	if j.v.spiffe.trustDomain == "" {
		return // verifyName says so
	}
	if !j.followable(u) {
		return
	}
	found, err := u.svid.Verify(j.v.spiffe.own, u.at)
	federated := ""
	if errors.Is(err, spire.ErrUnknownAuthority) {
		federated = j.federatedAuthority(u)
	}
	switch {
	case err == nil:
		j.verifyAuthority(u, found)
	case !errors.Is(err, spire.ErrUnknownAuthority):
		j.refute(u, CheckCertificate, "a chain to an authority of "+j.v.spiffe.trustDomain, err.Error(), "the certificate is not valid")
	case federated != "":
		j.refute(u, CheckTrustDomain, "an authority of "+j.v.spiffe.trustDomain, "an authority of "+federated,
			"a federated trust domain issued the certificate: it never identifies TaskRuns of this cluster")
	default:
		j.missingKey = cmp.Or(u.svid.IssuerKeyID(), u.svid.Leaf.Issuer.String())
		j.doubt(u, CheckCertificate, fmt.Sprintf("the authority %s of %s in the trust bundle", j.missingKey, j.v.spiffe.trustDomain),
			err.Error(), missingAuthorityMessage(u))
	}
}

// maxChainLinks is how many signatures of certificates are verified at most for one TaskRun and its attempts. Hostile chains need many.
const maxChainLinks = 1024

// followable reports whether the chain can be followed in reasonable time: every certificate may claim to be signed by every other.
func (j *judge) followable(u *unit) bool {
	n := len(u.svid.Intermediates)
	j.budget.chainLinks += 1 + n*n
	if j.budget.chainLinks <= maxChainLinks {
		return true
	}
	j.doubt(u, CheckCertificate, fmt.Sprintf("at most %d links between certificates", maxChainLinks), count(j.budget.chainLinks, "link"),
		"the TaskRun has too many certificates to follow them all")
	return false
}

// missingAuthorityMessage says what to do about a chain that ends nowhere.
func missingAuthorityMessage(u *unit) string {
	if u.kind.format == signing.FormatV1 {
		return "the trust bundle lacks the authority: use one from before it was retired; format v1 leaves intermediate certificates " +
			"out, so that the bundle must hold them too"
	}
	return "the trust bundle lacks the authority: use one of this cluster, from before the authority was retired"
}

// federatedAuthority returns the federated trust domain whose authority issued the certificate, empty if there is none.
func (j *judge) federatedAuthority(u *unit) string {
	for _, domain := range slices.Sorted(maps.Keys(j.v.spiffe.federated)) {
		if _, err := u.svid.Verify(j.v.spiffe.federated[domain], u.at); err == nil {
			return domain
		}
	}
	return ""
}

// verifyAuthority compares when the authorities were seen in use with when the step signed. One of them is enough.
func (j *judge) verifyAuthority(u *unit, found []spire.Authority) {
	var latest time.Time
	for i := range found {
		a := &found[i]
		if a.NotAfter.IsZero() || !u.at.After(a.NotAfter.Add(rotationTolerance)) {
			u.authority, u.trusted = a, true
			j.noteEarlyAuthority(u, a)
			return
		}
		if a.NotAfter.After(latest) {
			latest = a.NotAfter
		}
	}
	j.refute(u, CheckCertificate, "a signature from before "+latest.Format(timeFormat), u.at.UTC().Format(timeFormat),
		"the authority was retired when the step signed")
}

func (j *judge) noteEarlyAuthority(u *unit, a *spire.Authority) {
	if !u.at.Before(a.NotBefore) {
		return
	}
	j.add(Check{
		ID: CheckCertificate, Status: Note, Step: u.step.state.Container,
		Expected: "a signature from after " + a.NotBefore.Format(timeFormat), Got: u.at.UTC().Format(timeFormat),
		Message: "the authority was first seen later than the step signed",
	})
}
