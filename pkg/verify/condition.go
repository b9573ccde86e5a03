// SPDX-License-Identifier: Apache-2.0

package verify

import "knative.dev/pkg/apis"

// The condition of TEP-0089 that the add-on sets on a completed TaskRun.
const (
	ConditionType            apis.ConditionType = "SignedResultsVerified"
	ReasonVerified           string             = "TaskRunResultsVerified"
	ReasonVerificationFailed string             = "TaskRunResultsVerificationFailed"
	ReasonAwaitingResults    string             = "AwaitingTaskRunResults"
)
