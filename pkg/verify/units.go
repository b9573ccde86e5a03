// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// compareUnits checks what no single unit can show.
func (j *judge) compareUnits() {
	if want := j.podName(); j.tr.Status.PodName != want {
		j.fail(CheckPod, want, fmt.Sprintf("%q", j.tr.Status.PodName), "Tekton gives the pod of this attempt another name")
	}
	j.compareNames()
	j.compareKinds()
	var first *unit
	tokens := map[string]string{} // container by the token's ID
	for _, u := range j.units {
		if !u.read {
			continue
		}
		if first == nil {
			first = u
		}
		j.comparePods(u, first)
		j.compareTokens(u, first, tokens)
	}
	j.compareLegacySignatures()
}

// compareNames checks that every step has a container of its own name.
func (j *judge) compareNames() {
	names := map[string]bool{}
	for _, s := range j.steps {
		container := s.state.Container
		if names[container] || container != tekton.StepContainer(s.state.Name) {
			j.add(Check{
				ID: CheckPosition, Status: Fail, Step: container, Expected: fmt.Sprintf("one step %q", tekton.StepContainer(s.state.Name)),
				Got: fmt.Sprintf("container %q", container), Message: "steps and containers do not belong together",
			})
		}
		names[container] = true
	}
}

// compareKinds checks that one signer made all evidence, also what this version cannot verify.
func (j *judge) compareKinds() {
	var first kind
	for _, u := range j.units {
		switch {
		case u.kind == kind{}:
		case first == kind{}:
			first = u.kind
		case u.kind != first:
			j.refute(u, CheckFormat, first.String(), u.kind.String(), "the steps' evidence is of different kinds")
		}
	}
}

// comparePods checks that a unit is of the same pod as the first one, and of the live pod if there is one.
func (j *judge) comparePods(u, first *unit) {
	uid := u.podUID()
	if uid == "" {
		return
	}
	if want := first.podUID(); uid != want {
		j.refute(u, CheckPod, fmt.Sprintf("%q", want), fmt.Sprintf("%q", uid), "the steps' evidence is of different pods")
	}
	if pod := j.facts.Pod; pod != nil && pod.Found && string(pod.UID) != uid {
		j.refute(u, CheckPod, fmt.Sprintf("%q", uid), fmt.Sprintf("%q", pod.UID),
			"the live pod is not the one that signed: expected the UID that is signed")
	}
}

// compareTokens checks that a token is of the same account as the first one and vouches for one step only. A token with a
// fixed audience is the pod's, and vouches for no step.
func (j *judge) compareTokens(u, first *unit, seen map[string]string) {
	if u.token == nil {
		return
	}
	if first.token != nil && u.token.Claims.Subject != first.token.Claims.Subject {
		j.refute(u, CheckToken, first.token.Claims.Subject, u.token.Claims.Subject, "the steps' tokens are of different service accounts")
	}
	id := u.token.Claims.ID
	if id == "" || u.kind.scheme == signing.SchemeOIDCAudienceOnly {
		return
	}
	if other, twice := seen[id]; twice {
		j.refute(u, CheckTokenReuse, "a token of its own", fmt.Sprintf("token %s of %s", id, other), "one token stands for two steps")
	}
	seen[id] = u.step.state.Container
}

// passUnits says what is fine about the evidence.
func (j *judge) passUnits() {
	first, units := j.units[0], count(len(j.units), "step")
	j.pass(CheckFormat, first.kind.String())
	if first.kind.format == signing.FormatV2 {
		j.pass(CheckTaskRunUID, string(j.tr.UID))
		j.pass(CheckPosition, fmt.Sprintf("%s of %d, each in its place", units, first.header.Count))
	}
	if uid := first.podUID(); uid != "" {
		j.pass(CheckPod, fmt.Sprintf("%s, UID %s", j.tr.Status.PodName, uid))
	}
	if j.all(func(u *unit) bool { return u.trusted }) {
		j.passToken(first)
		j.passSVID(first)
	}
	if j.all(func(u *unit) bool { return u.compared }) {
		j.pass(CheckPayload, fmt.Sprintf("what is signed is what the TaskRun shows, %s", units))
	}
	j.pass(CheckAssurance, string(first.kind.assurance()))
}

// all reports whether something is true of every unit.
func (j *judge) all(is func(*unit) bool) bool {
	return !slices.ContainsFunc(j.units, func(u *unit) bool { return !is(u) })
}

// passToken says what is fine about the tokens.
func (j *judge) passToken(first *unit) {
	if first.token == nil {
		return
	}
	t := first.token
	j.pass(CheckCredentialLeak, "no token opens the API server")
	j.pass(CheckToken, fmt.Sprintf("of %s, bound to the pod", t.Claims.Subject))
	j.pass(CheckKey, fmt.Sprintf("%s %s of issuer %s", t.Algorithm, t.KeyID, t.Claims.Issuer))
	switch first.kind.scheme {
	case signing.SchemeOIDCAudienceOnly:
		j.pass(CheckSignature, "made by the key that stands beside the token")
	case signing.SchemeOIDCKeyBound:
		j.pass(CheckTokenReuse, "every step has a token of its own")
		j.pass(CheckSignature, "made by keys that the cluster's issuer vouches for")
	default:
		j.pass(CheckTokenReuse, "every step has a token of its own")
		j.pass(CheckSignature, "made by the cluster's issuer")
	}
	j.pass(CheckTime, "signed at "+first.at.Format(timeFormat)+", while the TaskRun ran")
}

// passSVID says what is fine about the certificates.
func (j *judge) passSVID(first *unit) {
	if first.authority == nil {
		return
	}
	j.pass(CheckCertificate, "issued by the authority "+first.authority.Fingerprint())
	j.pass(CheckTrustDomain, j.v.spiffe.trustDomain+", the cluster's own")
	j.pass(CheckSubject, j.taskRunID())
	j.pass(CheckSignature, "made by the key of the certificate")
	j.pass(CheckTime, "signed at "+first.at.Format(timeFormat)+", while the certificate was valid")
}
