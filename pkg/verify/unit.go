// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
)

// unit is the evidence of one step.
type unit struct {
	step   *step
	header signing.Header
	token  *oidc.Token // nil unless it could be read
	read   bool        // the header could be read, and is of a scheme that is verified here
}

// verifyUnits looks at the evidence of every step, then at what the steps must have in common.
func (j *judge) verifyUnits() {
	for _, u := range j.units {
		if j.readUnit(u) {
			u.read = true
			j.placeUnit(u)
			j.verifyToken(u)
		}
	}
	j.compareUnits()
	if !slices.ContainsFunc(j.units, func(u *unit) bool { return !u.read }) {
		j.passUnits()
	}
}

// readUnit checks the form of the evidence: manifest, carriers, scheme.
func (j *judge) readUnit(u *unit) bool {
	fail := func(expected, got, message string) bool {
		j.add(Check{
			ID: CheckFormat, Status: Fail, Step: u.step.state.Container, Expected: expected, Got: got, Message: message,
		})
		return false
	}
	manifest, ok := u.step.carriers[signing.CarrierManifest]
	if !ok {
		return fail(signing.CarrierManifest, "signing material without it", "the evidence says not what it is")
	}
	header, err := signing.ParseManifest(manifest)
	if err != nil {
		return fail("a manifest of format v2", err.Error(), "the evidence is of no format that this version knows")
	}
	u.header = header
	if !j.checkMinimumFormat(u, signing.FormatV2) {
		return false
	}
	want, got := slices.Sorted(slices.Values(header.Scheme.Carriers())), u.carrierNames()
	if !slices.Equal(want, got) {
		return fail(strings.Join(want, ", "), strings.Join(got, ", "), "the evidence has more or fewer parts than its backend's")
	}
	if header.Scheme != signing.SchemeOIDCPayloadBound || header.Flags.Has(signing.FlagSidecarLogs) {
		j.add(Check{
			ID: CheckFormat, Status: Unknown, Step: u.step.state.Container,
			Expected: "payload-bound evidence of backend oidc-sa-token in termination messages",
			Got:      fmt.Sprintf("backend %s, scheme %d, flags %d", header.Scheme.Backend(), header.Scheme, header.Flags),
			Message:  "this version cannot verify it: use a newer one",
		})
		return false
	}
	return true
}

func (u *unit) carrierNames() []string {
	names := make([]string, 0, len(u.step.carriers))
	for name := range u.step.carriers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// placeUnit checks that the evidence is of this TaskRun, of its pod, and of this step.
func (j *judge) placeUnit(u *unit) {
	container, h := u.step.state.Container, u.header
	fail := func(id CheckID, expected, got any, message string) {
		j.add(Check{
			ID: id, Status: Fail, Step: container,
			Expected: fmt.Sprint(expected), Got: fmt.Sprint(got), Message: message,
		})
	}
	if got := h.TaskRunUID.String(); got != string(j.tr.UID) {
		fail(CheckTaskRunUID, got, fmt.Sprintf("%q", j.tr.UID), "the evidence is of another TaskRun: expected the UID that is signed")
	}
	index := slices.Index(j.steps, u.step)
	if int(h.Index) != index || int(h.Count) != len(j.steps) {
		fail(CheckPosition, fmt.Sprintf("step %d of %d", h.Index+1, h.Count), fmt.Sprintf("step %d of %d", index+1, len(j.steps)),
			"steps were added, removed or moved: expected the position that is signed")
	}
	if pod := j.facts.Pod; pod != nil && pod.Found && string(pod.UID) != h.PodUID.String() {
		fail(CheckPod, h.PodUID, pod.UID, "the live pod is not the one that signed: expected the UID that is signed")
	}
}

// compareUnits checks what no single unit can show.
func (j *judge) compareUnits() {
	if want := j.podName(); j.tr.Status.PodName != want {
		j.fail(CheckPod, want, fmt.Sprintf("%q", j.tr.Status.PodName), "Tekton gives the pod of this attempt another name")
	}
	names := map[string]bool{}
	for _, s := range j.steps {
		container := s.state.Container
		if names[container] || container != stepPrefix+s.state.Name {
			j.add(Check{
				ID: CheckPosition, Status: Fail, Step: container, Expected: fmt.Sprintf("one step %q", stepPrefix+s.state.Name),
				Got: fmt.Sprintf("container %q", container), Message: "steps and containers do not belong together",
			})
		}
		names[container] = true
	}
	var first *unit
	tokens := map[string]string{} // container by the token's ID
	for _, u := range j.units {
		if !u.read {
			continue
		}
		if first == nil {
			first = u
		}
		if u.header.PodUID != first.header.PodUID {
			j.add(Check{
				ID: CheckPod, Status: Fail, Step: u.step.state.Container, Expected: first.header.PodUID.String(),
				Got: u.header.PodUID.String(), Message: "the steps' evidence is of different pods",
			})
		}
		j.compareTokens(u, first, tokens)
	}
}

// compareTokens checks that a token is of the same account as the first one and vouches for one step only.
func (j *judge) compareTokens(u, first *unit, seen map[string]string) {
	if u.token == nil {
		return
	}
	container := u.step.state.Container
	if first.token != nil && u.token.Claims.Subject != first.token.Claims.Subject {
		j.add(Check{
			ID: CheckToken, Status: Fail, Step: container, Expected: first.token.Claims.Subject, Got: u.token.Claims.Subject,
			Message: "the steps' tokens are of different service accounts",
		})
	}
	id := u.token.Claims.ID
	if other, twice := seen[id]; twice && id != "" {
		j.add(Check{
			ID: CheckTokenReuse, Status: Fail, Step: container, Expected: "a token of its own",
			Got: fmt.Sprintf("token %s of %s", id, other), Message: "one token stands for two steps",
		})
	}
	seen[id] = container
}

// verifyPayload compares what was signed with what the TaskRun shows.
func (j *judge) verifyPayload(u *unit, signed signing.Digest) {
	fail := func(expected, got, message string) {
		j.add(Check{
			ID: CheckPayload, Status: Fail, Step: u.step.state.Container, Expected: expected, Got: got, Message: message,
		})
	}
	rebuilt, err := j.rebuild(u)
	if err != nil {
		fail("entries that can be counted", err.Error(), "the step's message holds too much")
		return
	}
	if want, got := int(u.header.Entries), len(rebuilt.Entries); want != got {
		fail(fmt.Sprintf("%d entries", want), fmt.Sprintf("%d entries", got),
			"entries were added to or removed from the step's message")
		return
	}
	if got := rebuilt.Digest(); got != signed {
		fail("sha256:"+hex.EncodeToString(signed[:]), "sha256:"+hex.EncodeToString(got[:]),
			"the step's message, its exit code, or the names of namespace, TaskRun, pod or container are not the signed ones")
	}
}

// passUnits says what is fine about the evidence.
func (j *judge) passUnits() {
	units := count(len(j.units), "step")
	h := j.units[0].header
	j.pass(CheckFormat, "format v2, payload-bound")
	j.pass(CheckTaskRunUID, string(j.tr.UID))
	j.pass(CheckPod, fmt.Sprintf("%s, UID %s", j.tr.Status.PodName, h.PodUID))
	j.pass(CheckPosition, fmt.Sprintf("%s of %d, each in its place", units, h.Count))
	j.pass(CheckCredentialLeak, "no token opens the API server")
	j.pass(CheckTokenReuse, "every step has a token of its own")
	if u := j.units[0]; u.token != nil {
		j.pass(CheckToken, fmt.Sprintf("of %s, bound to the pod", u.token.Claims.Subject))
		j.pass(CheckKey, fmt.Sprintf("%s %s of issuer %s", u.token.Algorithm, u.token.KeyID, u.token.Claims.Issuer))
		j.pass(CheckTime, "signed at "+u.token.Claims.IssuedAt.Format(timeFormat)+", while the TaskRun ran")
	}
	j.pass(CheckSignature, fmt.Sprintf("made by the cluster's issuer, %s", units))
	j.pass(CheckPayload, fmt.Sprintf("what is signed is what the TaskRun shows, %s", units))
	j.checkMinimumAssurance(signing.AssurancePayloadBound)
	j.pass(CheckAssurance, string(signing.AssurancePayloadBound))
}
