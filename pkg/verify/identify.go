// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
)

// identification is the stage identify. It finds out whose evidence it is, and whether it vouches for what
// the TaskRun shows.
type identification struct {
	comparison
	readers map[signing.Backend]check.Reader
	minimum minimum
	steps   []*step
	units   units
}

// identify checks the evidence of every step, then what the steps must have in common.
func (v *Verifier) identify(ctx context.Context, r run, restored bool, steps []*step, list units, found *findings) {
	i := &identification{comparison{r, found, restored}, v.readers, v.minimum, steps, list}
	for _, u := range list {
		if !i.readUnit(u) {
			continue
		}
		u.read = true
		i.placeUnit(u)
		i.judge(ctx, u)
	}
	i.compareUnits()
	i.checkProven()
	if list.all(func(u *unit) bool { return u.read }) {
		found.add(v.minimum.checkAssurance(list[0].kind.assurance())...)
		i.passUnits()
	}
}

// judge lets the backend judge the identity of a unit, and compares what the identity vouches for with what
// the TaskRun shows.
func (i *identification) judge(ctx context.Context, u *unit) {
	proof, err := i.readers[u.kind.scheme.Backend()].Read(check.Evidence{
		Format: u.kind.format, Scheme: u.kind.scheme, Header: u.header, Carriers: u.step.carriers,
	})
	if err != nil {
		i.found.addOf(u, unreadable(err, CheckFormat))
		return
	}
	u.proof, u.judged = proof, proof.Judge(ctx, i.against(u))
	u.who = proof.Who()
	u.kind.scheme = cmp.Or(u.judged.Scheme, u.kind.scheme)
	i.found.addOf(u, u.judged.Checks...)
	i.found.missingKey = cmp.Or(u.judged.MissingKey, i.found.missingKey)
	if !u.judged.Comparable {
		return
	}
	if digest, key := proof.Signed(); digest != nil {
		i.compareDigest(u, *digest)
	} else {
		i.verifyDetached(u, key)
	}
}

// unreadable returns the failed check in the error of a reader.
func unreadable(err error, id CheckID) Check {
	if u := (*check.UnreadableError)(nil); errors.As(err, &u) {
		return u.Check
	}
	return check.Refuted(id, "an identity that can be read", err.Error(), "the evidence cannot be read")
}

// checkProven makes sure that the verdict is not VERIFIED if a step was left out silently.
func (i *identification) checkProven() {
	undecided := !i.found.have(Fail) && !i.found.have(Unknown)
	for _, u := range i.units {
		if undecided && (!u.read || !u.judged.Trusted || !u.compared) {
			i.found.doubt(u, CheckSignature, "an identity that vouches for what the TaskRun shows", "no proof",
				"the evidence was not verified: please report this")
		}
	}
}

// readUnit checks the form of the evidence: manifest, carriers, scheme.
func (i *identification) readUnit(u *unit) bool {
	manifest, ok := u.step.carriers[signing.CarrierManifest]
	switch {
	case !ok:
		i.found.refute(u, CheckFormat, signing.CarrierManifest, "signing material without it",
			"the evidence has no manifest, so its format is not known")
		return false
	case strings.Contains(manifest, ":"): // the name of a result has no colon
		return i.readHeader(u, manifest) && i.known(u)
	}
	return i.readLegacy(u, manifest) && i.known(u)
}

// readHeader reads evidence of format v2.
func (i *identification) readHeader(u *unit, manifest string) bool {
	header, err := signing.ParseManifest(manifest)
	if err != nil {
		i.found.refute(u, CheckFormat, "a manifest of format v1 or v2", err.Error(),
			"this version does not know the format of the evidence")
		return false
	}
	u.header, u.kind = header, kind{signing.FormatV2, header.Scheme}
	want, got := slices.Sorted(slices.Values(header.Scheme.Carriers())), u.carrierNames()
	if !slices.Equal(want, got) {
		i.found.refute(u, CheckFormat, strings.Join(want, ", "), strings.Join(got, ", "),
			"the evidence has more or fewer parts than its backend's")
		return false
	}
	return i.checkMinimumFormat(u, signing.FormatV2) && i.knownTransport(u)
}

// known reports whether this version can verify the evidence, and adds a check if it can only read it.
func (i *identification) known(u *unit) bool {
	if _, ok := i.readers[u.kind.scheme.Backend()]; ok {
		return true
	}
	known := make([]string, 0, len(i.readers))
	for backend := range i.readers {
		known = append(known, string(backend))
	}
	slices.Sort(known)
	i.found.doubt(u, CheckFormat, "evidence of the backends "+strings.Join(known, " or "), u.kind.String(),
		"this version cannot verify it: use a newer one")
	return false
}

// checkMinimumFormat compares the format of the evidence with the minimum of the verifier.
func (i *identification) checkMinimumFormat(u *unit, format signing.Format) bool {
	if i.minimum.acceptsFormat(format) {
		return true
	}
	i.found.refute(u, CheckFormat, "evidence of at least format "+string(i.minimum.format), "format "+string(format),
		"the evidence is of a format below the verifier's minimum format")
	return false
}

// placeUnit checks that the evidence belongs to this TaskRun, to its pod, and to this step. Evidence of
// format v1 does not contain that.
func (i *identification) placeUnit(u *unit) {
	if u.kind.format != signing.FormatV2 {
		return
	}
	h := u.header
	if got := h.TaskRunUID.String(); got != string(i.tr.UID) {
		i.found.refute(u, CheckTaskRunUID, got, fmt.Sprintf("%q", i.tr.UID),
			"the evidence is of another TaskRun: expected the UID that is signed")
	}
	index := slices.Index(i.steps, u.step)
	if int(h.Index) != index || int(h.Count) != len(i.steps) {
		i.found.refute(u, CheckPosition, fmt.Sprintf("step %d of %d", h.Index+1, h.Count),
			fmt.Sprintf("step %d of %d", index+1, len(i.steps)),
			"steps were added, removed or moved: expected the position that is signed")
	}
}
