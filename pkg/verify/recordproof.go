// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// Recorded returns the verdict in the record that a TaskRun carries. ok reports whether the add-on made the
// record, and whether the record matches the TaskRun as it is now, with its messages. Nothing else is
// verified.
func (v *Verifier) Recorded(tr *v1.TaskRun) (verdict Verdict, ok bool) {
	found := v.readRecord(context.Background(), v.run(tr, Facts{}), &findings{})
	if !found.good() || found.archive {
		return "", false
	}
	return Verdict(found.Verdict), true
}
