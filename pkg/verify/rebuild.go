// SPDX-License-Identifier: Apache-2.0

package verify

import "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"

// rebuild describes the step as the TaskRun shows it now, under the header that was signed.
func (r run) rebuild(u *unit) (signing.Unit, error) {
	entries, err := r.entriesOf(u)
	if err != nil {
		return signing.Unit{}, err
	}
	return signing.Unit{
		Header: u.header, Namespace: r.tr.Namespace, TaskRun: r.tr.Name, Pod: r.tr.Status.PodName,
		Container: u.step.state.Container, ExitCode: u.step.state.Terminated.ExitCode, Entries: entries,
	}, nil
}
