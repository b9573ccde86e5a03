// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// TestPodThatWasLeftAlone checks that a pod's own reason explains a verdict, and never changes it.
func TestPodThatWasLeftAlone(t *testing.T) {
	const reason = "its messages are too short"
	bare := func(r *verifytest.Run) {
		for i := range r.Steps {
			r.Steps[i].Bare = true
		}
	}
	for name, c := range map[string]struct {
		sign       func(*verifytest.Run)
		annotation string
		verdict    verify.Verdict
		message    string
	}{
		"with a reason":     {bare, reason, verify.Unsigned, "by its annotation, the pod does not sign: " + reason},
		"without":           {bare, "", verify.Unsigned, "signing was off when the TaskRun ran"},
		"with a long story": {bare, strings.Repeat("x", 4096), verify.Unsigned, "signing was off when the TaskRun ran"},
		"signed":            {nil, reason, verify.Verified, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTaskRun(t, c.sign)
			yes := true
			pod := &metav1.ObjectMeta{
				UID:         "3db15e48-971f-4815-84b3-272e52f61a10",
				Annotations: map[string]string{signing.UnsignedAnnotation: c.annotation},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "TaskRun", UID: tr.UID,
					Controller: &yes}},
			}
			got := newVerifier(t).TaskRun(t.Context(), tr, verify.Facts{Live: true, Pod: verify.FactsOf(pod)})
			if got.Verdict != c.verdict || !strings.Contains(got.Message, c.message) {
				t.Errorf("got %s: %s; want %s: %s", got.Verdict, got.Message, c.verdict, c.message)
			}
		})
	}
}
