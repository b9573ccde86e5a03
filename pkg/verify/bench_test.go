// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func BenchmarkTaskRun(b *testing.B) {
	tr := newTaskRun(b, nil)
	v := newVerifier(b)
	b.ReportAllocs()
	for b.Loop() {
		if got := v.TaskRun(b.Context(), tr, verify.Facts{}); got.Verdict != verify.Verified {
			b.Fatalf("%+v", got)
		}
	}
}
