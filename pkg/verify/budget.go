// SPDX-License-Identifier: Apache-2.0

package verify

import "strings"

// Budget limits the work that verification does for one object. The number of attempts does not raise the
// limit, because the writer of the object chooses that number. Pass one Budget for a TaskRun and all its
// archived attempts. It is not safe for concurrent use.
type Budget struct {
	messages         int             // bytes in the steps' messages that were read
	legacySignatures int             // of format v1, verified so far
	chainLinks       int             // between certificates, followed so far
	promotions       int             // declared promotions times steps
	artifactValues   int             // that were merged
	declarations     int             // declared results times steps
	texts            int             // bytes in the checks that were reported
	attempts         map[int]Verdict // of the archived attempts that were verified so far
}

// NewBudget returns the budget of one object.
func NewBudget() *Budget { return &Budget{attempts: map[int]Verdict{}} }

// Caps of text from the object in its checks, in bytes: of all texts together, and of each one after that. An
// object can repeat a long text in many checks.
const (
	maxTexts     = 16 << 20
	maxShortText = 1 << 10
)

// shorten returns the check. It shortens the texts if the checks of the object already hold too much text.
func (b *Budget) shorten(c Check) Check {
	if b == nil {
		return c
	}
	for _, text := range []*string{&c.Step, &c.Result, &c.Expected, &c.Got, &c.Message} {
		if b.texts+len(*text) > maxTexts && len(*text) > maxShortText {
			*text = strings.ToValidUTF8((*text)[:maxShortText], "") + "..."
		}
		b.texts += len(*text)
	}
	return c
}

// MaxAttempts is how many archived attempts of one TaskRun are verified at most. Tekton archives whole
// attempts, and an object in etcd has no room for many more.
const MaxAttempts = 256

// tooManyAttempts reports whether the TaskRun has more than MaxAttempts archived attempts, and adds a check
// if so.
func tooManyAttempts(r run, found *findings) bool {
	n := Attempts(r.tr)
	if n <= MaxAttempts {
		return false
	}
	found.add(Check{
		ID: CheckPod, Status: Unknown, Expected: count(MaxAttempts, "archived attempt") + " at most",
		Got:     count(n, "archived attempt"),
		Message: "the TaskRun has too many archived attempts to verify them all",
	})
	return true
}
