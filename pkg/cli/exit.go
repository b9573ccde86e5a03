// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs"
)

// Exit codes, the same for every output format. In bulk the worst wins: 4, 1, 2, 3, 5, 0.
const (
	ExitOK            = 0 // success
	ExitError         = 1 // wrong usage, or an internal error
	ExitIndeterminate = 2 // could not evaluate: unreachable, forbidden, missing trust
	ExitUnsigned      = 3 // unsigned, or nothing was verified
	ExitFailed        = 4 // verification or a check failed
	ExitWarnings      = 5 // warnings, under --strict
)

// exitError carries the exit code of a command that did not end well.
type exitError struct {
	code int
	err  error // nil if the command has already printed everything
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// withExit gives err an exit code. If err is nil, nothing more is printed.
func withExit(code int, err error) error { return &exitError{code: code, err: err} }

// exitCode returns the exit code for what a command returned.
func exitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	var coded *exitError
	if errors.As(err, &coded) {
		return coded.code
	}
	var problem *runs.Problem
	if errors.As(err, &problem) {
		return exitOf(problem.Verdict)
	}
	return ExitError
}

// strength orders the exit codes: of several, the last one in this list wins.
var strength = []int{ExitOK, ExitWarnings, ExitUnsigned, ExitIndeterminate, ExitError, ExitFailed}

// stronger returns the exit code that wins over the other.
func stronger(a, b int) int {
	if slices.Index(strength, b) > slices.Index(strength, a) {
		return b
	}
	return a
}
