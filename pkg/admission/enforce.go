// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// fail fails the attempt and removes everything that Tekton passes on, because finally tasks and those after
// onError: continue also use the results of failed TaskRuns. An attempt that had already failed keeps its reason,
// which distinguishes a cancelled TaskRun from one that timed out.
func (s *state) fail(message string, now time.Time) error {
	if s.succeeded().Status != string(corev1.ConditionFalse) {
		if err := s.setSucceeded(corev1.ConditionFalse, verify.ReasonVerificationFailed, message, now); err != nil {
			return err
		}
	}
	delete(s.fields, fieldResults)
	delete(s.fields, fieldArtifacts)
	steps, err := s.list(fieldSteps)
	if err != nil || len(steps) == 0 {
		return err
	}
	emptied := false
	for i, raw := range steps {
		var step map[string]json.RawMessage
		if err := json.Unmarshal(raw, &step); err != nil {
			return fmt.Errorf("reading status.steps[%d]: %w", i, err)
		}
		n := len(step)
		for _, field := range []string{"results", "inputs", "outputs"} {
			delete(step, field)
		}
		if len(step) == n {
			continue
		}
		emptied = true
		if steps[i], err = encode(step); err != nil {
			return err
		}
	}
	if !emptied {
		return nil
	}
	return s.set(fieldSteps, steps)
}

// retry does what Tekton's controller does with a failed attempt when others are left (retryTaskRun of Tekton
// v1.15.0): it archives the attempt and requests the next one. If the failure were published first, finally tasks
// would start before the last attempt.
func (s *state) retry(message string, now time.Time) error {
	attempts, err := s.attempts()
	if err != nil {
		return err
	}
	archived := s.clone()
	delete(archived.fields, fieldRetries)
	if err := s.setAttempts(append(attempts, archived)); err != nil {
		return err
	}
	delete(s.fields, fieldStartTime)
	delete(s.fields, fieldCompletionTime)
	delete(s.fields, fieldResults)
	if err := s.set(fieldPodName, ""); err != nil {
		return err
	}
	if err := s.setSucceeded(corev1.ConditionUnknown, v1.TaskRunReasonToBeRetried.String(), message, now); err != nil {
		return err
	}
	return s.setCondition(awaiting(now))
}

// setSucceeded replaces the first condition Succeeded, which all clients read.
func (s *state) setSucceeded(status corev1.ConditionStatus, reason, message string, now time.Time) error {
	cond := newCondition(status, reason, message, now)
	cond.Type = string(apis.ConditionSucceeded)
	return s.replaceCondition(cond)
}
