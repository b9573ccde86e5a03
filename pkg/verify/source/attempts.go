// SPDX-License-Identifier: Apache-2.0

package source

import (
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// Attempt is an earlier attempt of a TaskRun that Tekton retried.
type Attempt struct {
	Number  int         // from 1
	TaskRun *v1.TaskRun // as it was at the end of the attempt
	// Messages says whether the attempt has messages of its steps. Without any there is nothing to verify: its pod never
	// ran, or was lost.
	Messages bool
}

// Attempts returns the earlier attempts of tr, which Tekton keeps in status.retriesStatus, the oldest first. They share
// with tr what is not copied.
func Attempts(tr *v1.TaskRun) []Attempt {
	archived := tr.Status.RetriesStatus
	attempts := make([]Attempt, 0, len(archived))
	for i := range archived {
		then := *tr
		then.Status = archived[i]
		then.Status.RetriesStatus = archived[:i:i]
		attempts = append(attempts, Attempt{Number: i + 1, TaskRun: &then, Messages: hasMessages(&then)})
	}
	return attempts
}

// hasMessages reports whether a step left a message as Tekton's entrypoint writes it, compressed or not.
func hasMessages(tr *v1.TaskRun) bool {
	for i := range tr.Status.Steps {
		if t := tr.Status.Steps[i].Terminated; t != nil {
			if strings.HasPrefix(t.Message, "[") || strings.HasPrefix(t.Message, "tknz:") {
				return true
			}
		}
	}
	return false
}
