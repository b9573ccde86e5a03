// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/tekton-sign/kubectl-tekton-sign/cmd/signer/internal/process"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends/inpod"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// Limits of the time that the signer adds to a step.
const (
	leftoverLimit   = time.Second            // for killing the processes that the step left running
	signLimit       = 5 * time.Second        // for signing, unless the add-on sets another limit
	terminatedLimit = 900 * time.Millisecond // for signing after the container received a signal to end
)

// wrapper runs one step.
type wrapper struct {
	config    step.Config
	newSigner inpod.Factory
	say       func(format string, args ...any)
}

// run runs the entrypoint and returns the code with which the container must exit. It is always the step's
// code, even if signing fails.
func (w wrapper) run(entrypoint []string) int {
	child, err := process.Start(entrypoint)
	if err != nil {
		w.say("%v; check that the step's image and node can run Tekton's entrypoint", err)
		return exitCannotExec
	}
	status, err := child.Wait()
	if err != nil {
		w.say("%v", err)
		return exitFailed
	}
	code := process.ExitCode(status, os.Getpid() == 1)
	if !process.KillLeftovers(leftoverLimit) {
		w.say("processes of the step outlive it by more than %v; what they still write makes its verification fail",
			leftoverLimit)
	}
	ctx, cancel := w.budget(child.Terminated())
	defer cancel()
	w.guarded(func() { w.leaveEvidence(ctx, int32(code)) }) // #nosec G115 -- exit codes are below 256
	w.publish()
	return code
}

// guarded recovers from a panic of the signer, so that it does not affect the step.
func (w wrapper) guarded(f func()) {
	defer func() {
		if cause := recover(); cause != nil {
			w.say("step is not signed: internal error: %v; please report it", cause)
		}
	}()
	f()
}

// budget returns the context for signing. A cancelled step must end about as fast as without a signer.
func (w wrapper) budget(terminated <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(w.config.Patience, signLimit))
	go func() {
		select {
		case <-terminated:
			time.AfterFunc(terminatedLimit, cancel)
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// oneLine returns s with only printable text, safe for a terminal or a log.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
}
