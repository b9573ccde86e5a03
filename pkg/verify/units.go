// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// compareUnits checks the units against each other.
func (i *identification) compareUnits() {
	if want := i.podName(); i.tr.Status.PodName != want {
		i.found.fail(CheckPod, want, fmt.Sprintf("%q", i.tr.Status.PodName),
			"Tekton gives the pod of this attempt another name")
	}
	i.compareNames()
	i.compareKinds()
	var first *unit
	tokens := map[string]string{} // container by the token's ID
	for _, u := range i.units {
		if !u.read {
			continue
		}
		if first == nil {
			first = u
		}
		i.comparePods(u, first)
		i.compareTokens(u, first, tokens)
	}
	i.compareLegacySignatures()
}

// compareNames checks that every step has a container of its own name.
func (i *identification) compareNames() {
	names := map[string]bool{}
	for _, s := range i.steps {
		container := s.state.Container
		if names[container] || container != tekton.StepContainer(s.state.Name) {
			i.found.add(Check{
				ID: CheckPosition, Status: Fail, Step: container,
				Expected: fmt.Sprintf("one step %q", tekton.StepContainer(s.state.Name)),
				Got:      fmt.Sprintf("container %q", container), Message: "steps and containers do not belong together",
			})
		}
		names[container] = true
	}
}

// compareKinds checks that one signer made all evidence, including evidence that this version cannot verify.
func (i *identification) compareKinds() {
	var first kind
	for _, u := range i.units {
		switch {
		case u.kind == kind{}:
		case first == kind{}:
			first = u.kind
		case u.kind != first:
			i.found.refute(u, CheckFormat, first.String(), u.kind.String(), "the steps' evidence is of different kinds")
		}
	}
}

// comparePods checks that a unit names the same pod as the first one, and the live pod if there is one.
func (i *identification) comparePods(u, first *unit) {
	uid := u.podUID()
	if uid == "" {
		return
	}
	if want := first.podUID(); uid != want {
		i.found.refute(u, CheckPod, fmt.Sprintf("%q", want), fmt.Sprintf("%q", uid),
			"the steps' evidence is of different pods")
	}
	if pod := i.facts.Pod; pod != nil && pod.Found && string(pod.UID) != uid {
		i.found.refute(u, CheckPod, fmt.Sprintf("%q", uid), fmt.Sprintf("%q", pod.UID),
			"the live pod is not the one that signed: expected the UID that is signed")
	}
}

// compareTokens checks that a token has the same account as the first one, and vouches for one step only.
func (i *identification) compareTokens(u, first *unit, seen map[string]string) {
	if want, got := first.who.Account, u.who.Account; want != "" && got != "" && got != want {
		i.found.refute(u, CheckToken, want, got, "the steps' tokens are of different service accounts")
	}
	id := u.who.Token
	if id == "" {
		return
	}
	if other, twice := seen[id]; twice {
		i.found.refute(u, CheckTokenReuse, "a token of its own", fmt.Sprintf("token %s of %s", id, other),
			"one token vouches for two steps")
	}
	seen[id] = u.step.state.Container
}

// passUnits adds the passed checks of the evidence.
func (i *identification) passUnits() {
	first, units := i.units[0], count(len(i.units), "step")
	i.found.pass(CheckFormat, first.kind.String())
	if first.kind.format == signing.FormatV2 {
		i.found.pass(CheckTaskRunUID, string(i.tr.UID))
		i.found.pass(CheckPosition, fmt.Sprintf("%s of %d, each in its place", units, first.header.Count))
	}
	if uid := first.podUID(); uid != "" {
		i.found.pass(CheckPod, fmt.Sprintf("%s, UID %s", i.tr.Status.PodName, uid))
	}
	if i.units.all(func(u *unit) bool { return u.judged.Trusted }) {
		for _, c := range first.proof.Sound() {
			i.found.pass(c.ID, c.Message)
		}
	}
	if i.units.all(func(u *unit) bool { return u.compared }) {
		i.found.pass(CheckPayload, fmt.Sprintf("what is signed is what the TaskRun shows, %s", units))
	}
	i.found.pass(CheckAssurance, string(first.kind.assurance()))
}
