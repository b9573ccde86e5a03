// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// maxMessage bounds a condition's message, in bytes, because clients list thousands of TaskRuns.
const maxMessage = 512

// maxValue bounds one value in it, in characters.
const maxValue = 80

// condition is the condition that the add-on sets.
type condition struct {
	Type               string                 `json:"type"`
	Status             corev1.ConditionStatus `json:"status"`
	LastTransitionTime string                 `json:"lastTransitionTime"` // RFC 3339
	Reason             string                 `json:"reason"`
	Message            string                 `json:"message"`
}

func newCondition(status corev1.ConditionStatus, reason, message string, now time.Time) *condition {
	return &condition{
		Type: string(verify.ConditionType), Status: status, Reason: reason, Message: message,
		LastTransitionTime: now.UTC().Format(time.RFC3339),
	}
}

// conditionFor returns the condition for a result, or nil if there was nothing to verify.
func conditionFor(r verify.Result, now time.Time) *condition {
	switch r.Verdict {
	case verify.NoResults:
		return nil
	case verify.Verified:
		return newCondition(corev1.ConditionTrue, verify.ReasonVerified, verifiedMessage(r), now)
	case verify.Failed, verify.Indeterminate, verify.Unsigned:
		return failedCondition(failureMessage(r), now)
	}
	return failedCondition(fmt.Sprintf("%s: no such verdict", verify.Failed), now)
}

func failedCondition(message string, now time.Time) *condition {
	return newCondition(corev1.ConditionFalse, verify.ReasonVerificationFailed, cut(message), now)
}

// awaiting is the condition of a TaskRun that is not completed.
func awaiting(now time.Time) *condition {
	return newCondition(corev1.ConditionUnknown, verify.ReasonAwaitingResults, "the TaskRun is not completed", now)
}

func verifiedMessage(r verify.Result) string {
	results := "1 result"
	if n := len(r.Results); n != 1 {
		results = fmt.Sprintf("%d results", n)
	}
	switch r.Basis {
	case record.BasisReceipt:
		return fmt.Sprintf("%s: %s as the kubelet reported, nothing in the pod signed, %s", r.Verdict, results, r.Assurance)
	case record.BasisBoth:
		return fmt.Sprintf("%s: %s as the kubelet reported, not every step signed, %s", r.Verdict, results, r.Assurance)
	case record.BasisEvidence:
	}
	return fmt.Sprintf("%s: %s as signed in the pod, %s, %s", r.Verdict, results, r.Backend, r.Assurance)
}

// failureMessage has the verdict first, then the deciding check, what was expected, and what was found. Text from
// the TaskRun is escaped, because kubectl prints messages almost unchanged. Results appear only as digests, so that
// a message does not publish a value that did not verify.
func failureMessage(r verify.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", r.Verdict, r.Reason)
	check, ok := r.Decided()
	if !ok {
		if r.Message != "" {
			fmt.Fprintf(&b, ": %s", display.Safe(r.Message))
		}
		return b.String()
	}
	for _, detail := range []struct{ name, value string }{
		{"step", check.Step}, {"result", check.Result}, {"expected", shown(check.ID, check.Expected)},
		{"got", shown(check.ID, check.Got)},
	} {
		if detail.value != "" {
			fmt.Fprintf(&b, ", %s %s", detail.name, display.Short(detail.value, maxValue))
		}
	}
	if check.Message != "" {
		fmt.Fprintf(&b, ": %s", display.Safe(check.Message))
	}
	return b.String()
}

// shown returns what a check expected or found, or its digest if it is the value of a result or an artifact. Such a
// text begins with the value's type and is never one word.
func shown(id verify.CheckID, text string) string {
	switch id {
	case verify.CheckResults, verify.CheckStepResults, verify.CheckArtifacts:
	default:
		return text
	}
	if !strings.ContainsAny(text, ` {"`) || text == verify.OneOfThisName {
		return text
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
}

// published is the result as the condition shows it. A condition False also covers what verification of the status
// alone cannot see, such as a change by another writer.
func published(r verify.Result, s state) verify.Result {
	ours := s.ours()
	good := r.Verdict == verify.Verified || r.Verdict == verify.NoResults
	if !good || len(ours) != 1 || ours[0].head.Status != string(corev1.ConditionFalse) {
		return r
	}
	r.Verdict, r.Reason, r.Assurance, r.Identity = verify.Failed, string(verify.CheckCondition), "", nil
	r.Checks = append([]verify.Check{{ID: verify.CheckCondition, Status: verify.Fail}}, r.Checks...)
	return r
}

func cut(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return display.Cut(s, maxMessage-3) + "..."
}

// sameCondition reports whether raw equals cond, except for the time of the transition.
func sameCondition(raw json.RawMessage, cond *condition) bool {
	var have condition
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &have); err != nil {
		return false
	}
	have.LastTransitionTime = cond.LastTransitionTime
	return have == *cond
}
