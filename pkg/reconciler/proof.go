// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// Proof is how a verdict is known to be the add-on's.
type Proof struct {
	// SealKey is the key of the add-on's replicas.
	SealKey func() seal.Key
	// Recorded returns the verdict in the record that a TaskRun carries, if the add-on made it of the TaskRun as it is.
	Recorded func(context.Context, *v1.TaskRun) (verify.Verdict, bool)
}

// Proves reports whether what the condition of a TaskRun says, or that there is none, is the add-on's word about
// this state.
func (p Proof) Proves(ctx context.Context, taskRun *unstructured.Unstructured) bool {
	s := stateOf(taskRun)
	if _, err := p.opened(taskRun, s); err == nil {
		return true
	}
	return s.judged() && s.record != "" && p.isRecorded(ctx, taskRun, s)
}

func (p Proof) opened(taskRun *unstructured.Unstructured, s taskRunState) (seal.Facts, error) {
	if s.seal == "" || s.verdicts > 0 && !s.judged() {
		return seal.Facts{}, seal.ErrForged
	}
	of, err := seal.SubjectOf(taskRun)
	if err != nil {
		return seal.Facts{}, err
	}
	return seal.Open(p.SealKey(), of, s.seal)
}

// receipted returns which of a TaskRun's archived attempts the add-on verified by a receipt, as their seals prove.
func (p Proof) receipted(taskRun *unstructured.Unstructured, attempts int) []int {
	var numbers []int
	for n := range min(attempts, record.MaxAttempts) {
		if found, err := seal.OpenAttempt(p.SealKey(), taskRun, n); err == nil && found.Receipted() {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// isRecorded reports whether the record proves the condition.
func (p Proof) isRecorded(ctx context.Context, taskRun *unstructured.Unstructured, s taskRunState) bool {
	tr, err := typed(taskRun)
	if err != nil {
		return false
	}
	tr.Status.Annotations = map[string]string{record.Annotation: s.record}
	verdict, ok := p.Recorded(ctx, tr)
	return ok && (verdict == verify.Verified) == (s.ours.status == string(corev1.ConditionTrue))
}
