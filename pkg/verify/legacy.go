// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// legacyUnit is evidence of format v1: a signature for each task result's value, and one for the list of their names.
type legacyUnit struct {
	manifest   string
	values     map[string]string // task results by name
	signatures map[string]string // by the name of what they sign; the manifest's is a carrier
}

// legacyCaveats are the caveats about what format v1 cannot show.
var legacyCaveats = []string{
	"format v1 signs values without their names: two results, or a result and the list of names, may have been swapped",
	"format v1 does not sign the TaskRun's UID, the position of steps and their exit codes: the evidence may be a copy " +
		"from another TaskRun of the same name",
	"format v1 does not sign types: an array or object may have been a string, and the other way round",
}

// legacyName matches the names of Tekton's results.
var legacyName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// readLegacy reads evidence of format v1. The token's audience decides later whether the token is bound to a
// key or to an audience alone.
func (i *identification) readLegacy(u *unit, manifest string) bool {
	got := u.carrierNames()
	scheme := signing.LegacyScheme(got)
	if scheme == 0 {
		i.found.refute(u, CheckFormat, legacyParts(), strings.Join(got, ", "),
			"the evidence has more or fewer parts than a backend's")
		return false
	}
	first := !i.units.legacy()
	u.kind = kind{signing.FormatV1, scheme}
	if first {
		i.found.caveat(legacyCaveats...)
		i.checkLegacyDeclaration()
	}
	if !i.checkMinimumFormat(u, signing.FormatV1) {
		return false
	}
	u.legacy = &legacyUnit{manifest: manifest, values: map[string]string{}, signatures: map[string]string{}}
	i.readLegacyEntries(u)
	return i.compareLegacyNames(u)
}

// legacyParts lists the parts that evidence of format v1 may have, besides the signatures of results.
func legacyParts() string {
	var sets []string
	for _, names := range signing.LegacyCarriers() {
		slices.Sort(names)
		sets = append(sets, strings.Join(names, ", "))
	}
	slices.Sort(sets)
	return strings.Join(sets, "; or ")
}

// withoutSignatures returns results without the signatures of format v1, if there is evidence of that format.
func (list units) withoutSignatures(results []v1.TaskRunResult) []v1.TaskRunResult {
	if !list.legacy() {
		return results
	}
	return slices.DeleteFunc(slices.Clone(results), func(r v1.TaskRunResult) bool {
		return strings.HasSuffix(r.Name, signing.LegacySuffix)
	})
}

// withoutMissingSignatures returns what the steps emitted without the signatures of format v1 that
// status.results does not show, because the add-on may have removed them like other carriers. Those that it
// shows must be the emitted ones.
func (r *replay) withoutMissingSignatures(emitted []v1.TaskRunResult) []v1.TaskRunResult {
	if !r.units.legacy() {
		return emitted
	}
	shown := map[string]bool{}
	for _, r := range r.tr.Status.Results {
		shown[r.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(emitted), func(r v1.TaskRunResult) bool {
		return strings.HasSuffix(r.Name, signing.LegacySuffix) && !shown[r.Name]
	})
}

// legacySkips reports whether stock Tekton's signer leaves the step without evidence, because it did not run
// to its end. That signer signs in format v1 only, and only what it reads after the step has run.
func (p *placement) legacySkips(s *step) bool {
	for _, u := range p.units {
		if manifest, ok := u.step.carriers[signing.CarrierManifest]; !ok || strings.Contains(manifest, ":") {
			return false
		}
	}
	return len(s.results) == 0 && slices.Contains([]string{"Skipped", "Cancelled", "TimeoutExceeded"},
		s.state.TerminationReason)
}

// checkLegacyDeclaration refuses a Task that declares a result with the name of a signature.
func (i *identification) checkLegacyDeclaration() {
	for _, spec := range []*v1.TaskSpec{i.tr.Spec.TaskSpec, i.tr.Status.TaskSpec} {
		if spec == nil {
			continue
		}
		for _, r := range spec.Results {
			if strings.HasSuffix(r.Name, signing.LegacySuffix) && !signing.IsReserved(r.Name) {
				i.found.add(Check{
					ID: CheckReserved, Status: Fail, Result: r.Name, Expected: "no declared result of this name",
					Got:     "a declared result",
					Message: "the name is that of a signature of format v1: rename the Task's result, or sign with format v2",
				})
			}
		}
	}
}

// readLegacyEntries separates results from signatures. An entry that is neither is not signed.
func (i *identification) readLegacyEntries(u *unit) {
	unsigned := map[CheckID]int{}
	for _, r := range u.step.results {
		base, isSignature := strings.CutSuffix(r.Key, signing.LegacySuffix)
		switch {
		case signing.IsCarrier(r):
		case isSignature && r.ResultType == result.TaskRunResultType:
			u.legacy.signatures[base] = r.Value
		case isSignature:
			i.found.add(Check{
				ID: CheckReserved, Status: Fail, Step: u.step.state.Container, Result: r.Key,
				Expected: "no entry of this name and type",
				Got:      fmt.Sprintf("an entry of type %d", r.ResultType), Message: "the name is that of a signature of format v1",
			})
		case r.ResultType == result.TaskRunResultType:
			u.legacy.values[r.Key] = r.Value
		case r.ResultType == result.StepResultType:
			unsigned[CheckStepResults]++
		default:
			unsigned[CheckArtifacts]++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(unsigned)) {
		i.found.doubt(u, id, "entries that are signed", count(unsigned[id], "entry")+" that format v1 does not sign",
			"format v1 signs task results only: sign with format v2")
	}
}

// compareLegacyNames compares the manifest with the results, both ways, and the signatures with the results.
func (i *identification) compareLegacyNames(u *unit) bool {
	listed := map[string]bool{}
	ok := true
	fail := func(id CheckID, name, expected, got, message string) {
		ok = false
		i.found.add(Check{
			ID: id, Status: Fail, Step: u.step.state.Container, Result: name, Expected: expected, Got: got, Message: message,
		})
	}
	if n := strings.Count(u.legacy.manifest, ","); n >= maxEntries {
		fail(CheckFormat, "", fmt.Sprintf("at most %d names", maxEntries), count(n+1, "name"),
			"no message holds that many results")
		return false
	}
	var names []string
	if u.legacy.manifest != "" {
		names = strings.Split(u.legacy.manifest, ",")
	}
	for _, name := range names {
		switch {
		case !legacyName.MatchString(name) || signing.IsLegacyCarrier(name):
			fail(CheckFormat, "", "names of results, joined by commas", fmt.Sprintf("%q", name),
				"the list of names cannot be read")
		case listed[name]:
			fail(CheckFormat, name, "each name once", "several", "the list of names holds the name twice")
		}
		listed[name] = true
		if _, there := u.legacy.values[name]; !there {
			fail(CheckPayload, name, "the result", "nothing", "the step signed the name, its message lacks the result")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.legacy.values)) {
		if !listed[name] {
			fail(CheckPayload, name, "nothing", "a result",
				"the step's message has the result, the signed list of names lacks it. "+
					"Tekton's own signer leaves the list empty for a step that declares step results, too")
		}
		if _, there := u.legacy.signatures[name]; !there {
			fail(CheckSignature, name, name+signing.LegacySuffix, "nothing", "the result has no signature")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.legacy.signatures)) {
		if _, there := u.legacy.values[name]; !there {
			fail(CheckFormat, name+signing.LegacySuffix, "a result "+name, "nothing",
				"the signature does not belong to a result")
		}
	}
	return ok
}

// maxLegacySignatures is how many signatures of format v1 are verified at most for one TaskRun and its
// attempts. A pod's messages have room for less than half of that.
const maxLegacySignatures = 512

// verifyLegacy checks the signatures of format v1.
func (c *comparison) verifyLegacy(u *unit, key crypto.PublicKey) {
	c.budget.legacySignatures += 1 + len(u.legacy.values)
	if c.budget.legacySignatures > maxLegacySignatures {
		c.found.doubt(u, CheckSignature, fmt.Sprintf("at most %d signatures", maxLegacySignatures),
			count(c.budget.legacySignatures, "signature"),
			"the TaskRun has too many signatures to verify them all")
		return
	}
	u.compared = true
	c.verifyLegacyValue(u, key, signing.CarrierManifest, u.legacy.manifest,
		u.step.carriers[signing.CarrierManifestSignature])
	for _, name := range slices.Sorted(maps.Keys(u.legacy.values)) {
		c.verifyLegacyValue(u, key, name, signing.LegacyValue(u.legacy.values[name]), u.legacy.signatures[name])
	}
}

func (c *comparison) verifyLegacyValue(u *unit, key crypto.PublicKey, name, value, signature string) {
	err := signing.VerifyLegacy(key, value, signature)
	if err == nil {
		return
	}
	failed := Check{
		ID: CheckSignature, Status: Fail, Step: u.step.state.Container, Result: name, Expected: "a signature of format v1",
		Got:     err.Error(),
		Message: "the signature is not well-formed, or its key is too weak",
	}
	if errors.Is(err, signing.ErrSignature) {
		failed.ID = CheckPayload
		failed.Expected, failed.Got = "a signature over this value", "a signature over something else"
		failed.Message = "the value is not the signed one"
	}
	c.found.add(failed)
}

// compareLegacySignatures looks for one signature in two places. With ECDSA, no two honest signatures have
// the same r, so one of them is a copy. It compares r and not the text, because (r, s) and (r, N-s) are both
// valid for the same value. With the other algorithms, equal values have equal signatures.
func (i *identification) compareLegacySignatures() {
	seen := map[string]string{}
	for _, u := range i.units {
		if !u.read || u.legacy == nil || !u.signsWithECDSA() {
			continue
		}
		signatures := maps.Clone(u.legacy.signatures)
		signatures[signing.CarrierManifest] = u.step.carriers[signing.CarrierManifestSignature]
		for _, name := range slices.Sorted(maps.Keys(signatures)) {
			place := fmt.Sprintf("%s of %s", name, u.step.state.Container)
			r := signing.LegacyNonce(signatures[name])
			if other, twice := seen[r]; twice {
				i.found.refute(u, CheckSignature, "a signature of its own for "+place, "that of "+other, "a signature was copied")
			}
			seen[r] = place
		}
	}
}

// signsWithECDSA reports whether the key of a unit makes a different signature each time.
func (u *unit) signsWithECDSA() bool {
	if u.proof == nil {
		return false
	}
	_, key := u.proof.Signed()
	_, ok := key.(*ecdsa.PublicKey)
	return ok
}
