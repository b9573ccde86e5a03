// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/merge"
)

// MaxLog caps the log of Tekton's results sidecar, in bytes. A TaskRun has no room for more.
const MaxLog = 1 << 20

// ResultsLog is the log of Tekton's results sidecar, by which values travel with results-from: sidecar-logs.
type ResultsLog struct {
	Used      bool      // the pod has the sidecar
	Ended     bool      // the sidecar has ended, so that its log is complete
	Restarted bool      // it ran more than once
	Missing   string    // why the log was not read, if the add-on tried
	Entries   merge.Log // what the sidecar logged
	Digest    string    // hex SHA-256 of the log; empty if it was not read
}

// logOf returns what a pod's status shows about its results sidecar.
func logOf(pod *corev1.Pod) (log ResultsLog) {
	for i := range pod.Spec.InitContainers { // Tekton can run its sidecar there
		log.Used = log.Used || pod.Spec.InitContainers[i].Name == tekton.ResultsSidecar
	}
	for i := range pod.Spec.Containers {
		log.Used = log.Used || pod.Spec.Containers[i].Name == tekton.ResultsSidecar
	}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range statuses {
			if s.Name == tekton.ResultsSidecar {
				log.Ended = log.Ended || s.State.Terminated != nil
				log.Restarted = log.Restarted || restarted(s)
			}
		}
	}
	return log
}

// Read takes what the sidecar logged. A log that Tekton does not take is an error, and counts as not read.
func (l *ResultsLog) Read(text []byte) error {
	if len(text) > MaxLog {
		return fmt.Errorf("expected at most %d bytes", MaxLog)
	}
	entries, err := merge.ParseLog(text)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	l.Entries, l.Digest = entries, hex.EncodeToString(sum[:])
	return nil
}
