// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
)

// unit is the evidence of one step.
type unit struct {
	step   *step
	kind   kind
	header signing.Header // of format v2
	legacy *legacyUnit    // of format v1
	read   bool           // it is well-formed, and this version can verify it

	proof    check.Proof     // nil if it could not be read
	who      check.Identity  // the identity that the proof claims
	judged   check.Judgement // of the proof
	compared bool            // what was signed was compared with what the TaskRun shows
}

// units are the units of a TaskRun's steps, in their order.
type units []*unit

// all reports whether is returns true for every unit.
func (list units) all(is func(*unit) bool) bool {
	return !slices.ContainsFunc(list, func(u *unit) bool { return !is(u) })
}

// legacy reports whether any evidence is of format v1.
func (list units) legacy() bool {
	return slices.ContainsFunc(list, func(u *unit) bool { return u.kind.format == signing.FormatV1 })
}

// sidecarLogs reports whether values travelled by log. All units agree on it, otherwise knownTransport
// failed.
func (list units) sidecarLogs() bool {
	return slices.ContainsFunc(list, func(u *unit) bool { return u.header.Flags.Has(signing.FlagSidecarLogs) })
}

// kind is what all units of a TaskRun have in common, because one signer made them.
type kind struct {
	format signing.Format
	scheme signing.Scheme // in format v1 the scheme with the same identity
}

func (k kind) String() string {
	return fmt.Sprintf("format %s, backend %s, %s", k.format, k.scheme.Backend(), k.scheme.Assurance())
}

// assurance returns what the evidence proves. It is empty for an unknown kind.
func (k kind) assurance() signing.Assurance {
	if k.format == signing.FormatV1 {
		return signing.AssuranceLegacy
	}
	return k.scheme.Assurance()
}

func (u *unit) carrierNames() []string {
	names := make([]string, 0, len(u.step.carriers))
	for name := range u.step.carriers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// podUID returns the UID of the pod that the evidence names. It is empty if the evidence names none.
func (u *unit) podUID() string {
	if u.kind.format == signing.FormatV2 {
		return u.header.PodUID.String()
	}
	return u.who.PodUID
}
