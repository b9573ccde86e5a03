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

func main() { os.Exit(run()) }

// run returns the exit code: 2 where the lab cannot run at all, and 1 for every other failure.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := newCommand().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "lab:", err)
	var requirement *lab.RequirementError
	if errors.As(err, &requirement) {
		return 2
	}
	return 1
}
