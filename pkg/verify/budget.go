// SPDX-License-Identifier: Apache-2.0

package verify

// Budget counts what verification does for one object, whatever the number of its attempts: whoever writes the object chooses that
// number. Pass one Budget for a TaskRun and all its archived attempts. It is not safe for concurrent use.
type Budget struct {
	messages         int             // bytes in the steps' messages that were read
	legacySignatures int             // of format v1, verified so far
	chainLinks       int             // between certificates, followed so far
	promotions       int             // declared promotions times steps
	artifactValues   int             // that were merged
	attempts         map[int]Verdict // of archived attempts, as far as they were asked for
}

// NewBudget returns the budget of one object.
func NewBudget() *Budget { return &Budget{attempts: map[int]Verdict{}} }

// MaxAttempts is how many archived attempts of one TaskRun are looked at. Tekton archives them whole: an object of etcd does not hold
// many more.
const MaxAttempts = 256

// tooManyAttempts says so of a TaskRun with more archived attempts than are looked at.
func tooManyAttempts(r run, found *findings) bool {
	n := Attempts(r.tr)
	if n <= MaxAttempts {
		return false
	}
	found.add(Check{
		ID: CheckPod, Status: Unknown, Expected: count(MaxAttempts, "archived attempt") + " at most", Got: count(n, "archived attempt"),
		Message: "the TaskRun has too many archived attempts to look at them all",
	})
	return true
}
