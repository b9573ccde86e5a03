// SPDX-License-Identifier: Apache-2.0

package verify

// Verdict is the outcome of verifying one TaskRun. The zero value does not mean success: it ranks with
// Failed.
type Verdict string

// The verdicts, as they are shown to people and to machines.
const (
	Verified      Verdict = "VERIFIED"
	Failed        Verdict = "FAILED"
	Unsigned      Verdict = "UNSIGNED"
	Indeterminate Verdict = "INDETERMINATE" // could not be evaluated; the checks show what is missing
	NoResults     Verdict = "NO_RESULTS"    // the TaskRun declares no results and carries none
)

// Verdicts lists every verdict, the worst first.
func Verdicts() []Verdict {
	return []Verdict{Failed, Indeterminate, Unsigned, NoResults, Verified}
}

// rank orders verdicts by severity. An unknown verdict is as bad as Failed.
func (v Verdict) rank() int {
	switch v {
	case Verified:
		return 0
	case NoResults:
		return 1
	case Unsigned:
		return 2
	case Indeterminate:
		return 3
	}
	return 4
}

// Worse returns the more severe of two verdicts.
func Worse(a, b Verdict) Verdict {
	if b.rank() > a.rank() {
		return b
	}
	return a
}
