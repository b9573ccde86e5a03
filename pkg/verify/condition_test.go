// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func TestConditionHelpers(t *testing.T) {
	for name, test := range map[string]struct {
		conditions         []corev1.ConditionStatus
		verified, complete bool
	}{
		"none":         {nil, false, false},
		"verified":     {[]corev1.ConditionStatus{"True"}, true, true},
		"not verified": {[]corev1.ConditionStatus{"False"}, false, true},
		"awaited":      {[]corev1.ConditionStatus{"Unknown"}, false, false},
		"nonsense":     {[]corev1.ConditionStatus{"true"}, false, false},
		"two":          {[]corev1.ConditionStatus{"True", "False"}, false, false},
		"twice":        {[]corev1.ConditionStatus{"True", "True"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			status := &v1.TaskRunStatus{}
			status.Conditions = append(status.Conditions,
				apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionTrue})
			for _, s := range test.conditions {
				status.Conditions = append(status.Conditions, apis.Condition{Type: verify.ConditionType, Status: s})
			}
			if got := verify.AreResultsVerified(status); got != test.verified {
				t.Errorf("AreResultsVerified: expected %v, got %v", test.verified, got)
			}
			if got := verify.IsResultsVerificationComplete(status); got != test.complete {
				t.Errorf("IsResultsVerificationComplete: expected %v, got %v", test.complete, got)
			}
		})
	}
}
