// SPDX-License-Identifier: Apache-2.0

package verify

import (
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/apis"
)

// The condition of TEP-0089 that the add-on sets on a completed TaskRun.
const (
	ConditionType            apis.ConditionType = "SignedResultsVerified"
	ReasonVerified           string             = "TaskRunResultsVerified"
	ReasonVerificationFailed string             = "TaskRunResultsVerificationFailed"
	ReasonAwaitingResults    string             = "AwaitingTaskRunResults"
)

// AreResultsVerified reports whether the condition is that of verified results. If you do not trust everyone
// who can write the status, use a Verifier instead: the add-on keeps the condition right only while it runs.
func AreResultsVerified(status *v1.TaskRunStatus) bool {
	c := resultsCondition(status)
	return c != nil && c.IsTrue()
}

// IsResultsVerificationComplete reports whether the condition holds a verdict, good or bad. It holds none
// while a TaskRun runs, or if its results are not verified at all.
func IsResultsVerificationComplete(status *v1.TaskRunStatus) bool {
	c := resultsCondition(status)
	return c != nil && (c.IsTrue() || c.IsFalse())
}

// resultsCondition returns the condition of our type. It returns nil if there is none, or more than one,
// because readers could choose different ones.
func resultsCondition(status *v1.TaskRunStatus) *apis.Condition {
	var found *apis.Condition
	for i := range status.Conditions {
		if status.Conditions[i].Type != ConditionType {
			continue
		}
		if found != nil {
			return nil
		}
		found = &status.Conditions[i]
	}
	return found
}
