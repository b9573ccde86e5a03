// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
)

// unit is the evidence of one step.
type unit struct {
	step   *step
	kind   kind
	header signing.Header // of format v2
	legacy *legacyUnit    // of format v1
	read   bool           // it is well-formed, and of a kind that is verified here

	token     *oidc.Token      // nil unless it could be read
	svid      *spire.SVID      // nil unless it could be read
	authority *spire.Authority // to which the SVID leads
	at        time.Time        // when it was signed, zero if unknown
	trusted   bool             // the cluster vouches for the token or the certificate
	compared  bool             // what was signed was compared with what the TaskRun shows
}

// kind is what the units of a TaskRun have in common: one signer made them all.
type kind struct {
	format signing.Format
	scheme signing.Scheme // in format v1 the one of the same identity
}

func (k kind) String() string {
	return fmt.Sprintf("format %s, backend %s, %s", k.format, k.scheme.Backend(), k.scheme.Assurance())
}

// assurance is what the evidence proves, empty for an unknown kind.
func (k kind) assurance() signing.Assurance {
	if k.format == signing.FormatV1 {
		return signing.AssuranceLegacy
	}
	return k.scheme.Assurance()
}

// refute adds a failed check about a unit.
func (j *judge) refute(u *unit, id CheckID, expected, got, message string) {
	j.add(Check{ID: id, Status: Fail, Step: u.step.state.Container, Expected: expected, Got: got, Message: message})
}

// doubt adds a check about a unit that nobody can decide with what is here.
func (j *judge) doubt(u *unit, id CheckID, expected, got, message string) {
	j.add(Check{ID: id, Status: Unknown, Step: u.step.state.Container, Expected: expected, Got: got, Message: message})
}

// verifyUnits looks at the evidence of every step, then at what the steps must have in common.
func (j *judge) verifyUnits(ctx context.Context) {
	for _, u := range j.units {
		if !j.readUnit(u) {
			continue
		}
		u.read = true
		j.placeUnit(u)
		if u.kind.scheme.Backend() == signing.BackendSPIRE {
			j.verifySVID(u)
		} else {
			j.verifyToken(ctx, u)
		}
	}
	j.compareUnits()
	j.checkProven()
	if j.all(func(u *unit) bool { return u.read }) {
		j.checkMinimumAssurance(j.units[0].kind.assurance())
		j.passUnits()
	}
}

// checkProven makes sure that nothing is VERIFIED of which a look was left out without a word.
func (j *judge) checkProven() {
	undecided := !slices.ContainsFunc(j.checks, func(c Check) bool { return c.Status == Fail || c.Status == Unknown })
	for _, u := range j.units {
		if undecided && (!u.read || !u.trusted || !u.compared) {
			j.doubt(u, CheckSignature, "an identity that vouches for what the TaskRun shows", "no proof",
				"the evidence was not verified: please report this")
		}
	}
}

// readUnit checks the form of the evidence: manifest, carriers, scheme.
func (j *judge) readUnit(u *unit) bool {
	manifest, ok := u.step.carriers[signing.CarrierManifest]
	switch {
	case !ok:
		j.refute(u, CheckFormat, signing.CarrierManifest, "signing material without it", "the evidence says not what it is")
		return false
	case strings.Contains(manifest, ":"): // no name of a result has one
		return j.readHeader(u, manifest) && j.known(u)
	}
	return j.readLegacy(u, manifest) && j.known(u)
}

// readHeader reads evidence of format v2.
func (j *judge) readHeader(u *unit, manifest string) bool {
	header, err := signing.ParseManifest(manifest)
	if err != nil {
		j.refute(u, CheckFormat, "a manifest of format v1 or v2", err.Error(), "the evidence is of no format that this version knows")
		return false
	}
	u.header, u.kind = header, kind{signing.FormatV2, header.Scheme}
	want, got := slices.Sorted(slices.Values(header.Scheme.Carriers())), u.carrierNames()
	if !slices.Equal(want, got) {
		j.refute(u, CheckFormat, strings.Join(want, ", "), strings.Join(got, ", "),
			"the evidence has more or fewer parts than its backend's")
		return false
	}
	return j.checkMinimumFormat(u, signing.FormatV2) && j.knownTransport(u)
}

// known says so of evidence that this version can read and cannot verify.
func (j *judge) known(u *unit) bool {
	if u.kind.scheme != signing.SchemeSigstore {
		return true
	}
	j.doubt(u, CheckFormat, "evidence of the backends oidc-sa-token or spire", u.kind.String(),
		"this version cannot verify it: use a newer one")
	return false
}

func (u *unit) carrierNames() []string {
	names := make([]string, 0, len(u.step.carriers))
	for name := range u.step.carriers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// placeUnit checks that the evidence is of this TaskRun, of its pod, and of this step. Evidence of format v1 does not say.
func (j *judge) placeUnit(u *unit) {
	if u.kind.format != signing.FormatV2 {
		return
	}
	h := u.header
	if got := h.TaskRunUID.String(); got != string(j.tr.UID) {
		j.refute(u, CheckTaskRunUID, got, fmt.Sprintf("%q", j.tr.UID),
			"the evidence is of another TaskRun: expected the UID that is signed")
	}
	index := slices.Index(j.steps, u.step)
	if int(h.Index) != index || int(h.Count) != len(j.steps) {
		j.refute(u, CheckPosition, fmt.Sprintf("step %d of %d", h.Index+1, h.Count),
			fmt.Sprintf("step %d of %d", index+1, len(j.steps)),
			"steps were added, removed or moved: expected the position that is signed")
	}
}

// podUID is the pod that the evidence names, empty if it names none.
func (u *unit) podUID() string {
	switch {
	case u.kind.format == signing.FormatV2:
		return u.header.PodUID.String()
	case u.token != nil:
		return u.token.Claims.PodUID
	}
	return ""
}

// verifyDetached checks the signature that a unit carries, made with the private half of key.
func (j *judge) verifyDetached(u *unit, key crypto.PublicKey) {
	if u.kind.format == signing.FormatV1 {
		j.verifyLegacy(u, key)
		return
	}
	if got := signing.AlgorithmOf(key); got != u.header.Algorithm {
		j.refute(u, CheckSignature, fmt.Sprintf("a key for algorithm %d", u.header.Algorithm), fmt.Sprintf("a key for algorithm %d", got),
			"the key is not one that signs in this way")
		return
	}
	signature, err := signing.DecodeBase64URL(u.step.carriers[signing.CarrierManifestSignature])
	if err != nil {
		j.refute(u, CheckSignature, "a signature in base64url", err.Error(), "the signature cannot be read")
		return
	}
	rebuilt, ok := j.rebuildCounted(u)
	if !ok {
		return
	}
	j.compareSigned(u, key, rebuilt.Message(), signature)
}
