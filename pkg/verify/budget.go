// SPDX-License-Identifier: Apache-2.0

package verify

import "strings"

// Budget counts what verification does for one object, whatever the number of its attempts: whoever writes the object chooses that
// number. Pass one Budget for a TaskRun and all its archived attempts. It is not safe for concurrent use.
type Budget struct {
	messages         int             // bytes in the steps' messages that were read
	legacySignatures int             // of format v1, verified so far
	chainLinks       int             // between certificates, followed so far
	promotions       int             // declared promotions times steps
	artifactValues   int             // that were merged
	declarations     int             // declared results times steps
	texts            int             // bytes in the checks that were reported
	attempts         map[int]Verdict // of archived attempts, as far as they were asked for
}

// NewBudget returns the budget of one object.
func NewBudget() *Budget { return &Budget{attempts: map[int]Verdict{}} }

// What checks hold of the object: all texts together, in bytes, and each one once that is used up. An object can repeat a long text of its
// own in many checks.
const (
	maxTexts     = 16 << 20
	maxShortText = 1 << 10
)

// shorten returns the check, with shorter texts where the checks of the object hold too much already.
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
