// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"context"
	"maps"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// checkStatus is the stage status: it checks the signature of a controller over the status as a whole. Such a
// signature refutes a status that was changed. It never makes a verdict better, because the steps' evidence and the
// record prove more.
func (v *Verifier) checkStatus(ctx context.Context, r run, found *findings) {
	for _, reader := range v.status {
		judged := reader.Status(ctx, r.tr, r.against(nil))
		found.add(judged.Checks...)
		found.missingKey = cmp.Or(found.missingKey, judged.MissingKey)
	}
}

// withoutStatusSignature returns the annotations of an archived attempt without such a signature. It is about a
// TaskRun, and covers the attempts that are archived in it.
func withoutStatusSignature(status v1.TaskRunStatus) v1.TaskRunStatus {
	status.Annotations = maps.Clone(status.Annotations)
	for _, name := range []string{
		signing.StatusHash, signing.StatusSignature, signing.StatusCertificates, signing.StatusNotVerified,
	} {
		delete(status.Annotations, name)
	}
	return status
}
