// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// rebuild describes the step as the TaskRun shows it now, under the header that was signed.
func (j *judge) rebuild(u *unit) (signing.Unit, error) {
	entries, err := j.entriesOf(u)
	if err != nil {
		return signing.Unit{}, err
	}
	return signing.Unit{
		Header: u.header, Namespace: j.tr.Namespace, TaskRun: j.tr.Name, Pod: j.tr.Status.PodName,
		Container: u.step.state.Container, ExitCode: u.step.state.Terminated.ExitCode, Entries: entries,
	}, nil
}

// entriesOf returns what a unit vouches for, as the TaskRun shows it now.
func (j *judge) entriesOf(u *unit) ([]signing.Entry, error) { return signing.EntriesOf(u.step.results) }

// knownTransport reports whether the unit's values came by a way that is verified here.
func (j *judge) knownTransport(u *unit) bool {
	if !u.header.Flags.Has(signing.FlagSidecarLogs) {
		return true
	}
	j.doubt(u, CheckFormat, "values in termination messages", fmt.Sprintf("flags %d: values by the log of a sidecar", u.header.Flags),
		"this version cannot verify it: use a newer one")
	return false
}
