// SPDX-License-Identifier: Apache-2.0

// Command lab brings a real one-node Kubernetes with Tekton up on this machine, and down again.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(exitCode(err))
	}
}

// exitCode is 2 where the lab cannot run at all, and 1 for every other failure.
func exitCode(err error) int {
	var requirement *lab.RequirementError
	if errors.As(err, &requirement) {
		return 2
	}
	return 1
}
