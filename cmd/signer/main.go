// SPDX-License-Identifier: Apache-2.0

// Command signer wraps Tekton's entrypoint in a step's container. It runs the entrypoint unchanged, signs what the step
// emitted, and only then lets the next step start.
//
//	signer run [flags] -- /tekton/bin/entrypoint ...   as the command of a step; the flags are those of pkg/signing/step
//	signer install DESTINATION                         as the command of an init container that delivers the signer
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends/inpod"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// The signer's own exit codes. Otherwise it exits with the code of the step.
const (
	exitFailed     = 1
	exitUsage      = 2
	exitCannotExec = 127 // as in a shell and a container runtime
)

func main() {
	os.Exit(command(os.Args[1:], os.Stderr, inpod.Of))
}

// command runs one of the signer's commands and returns its exit code.
func command(args []string, stderr io.Writer, signerOf func(signing.Backend) (inpod.Factory, error)) int {
	say := speaker(stderr)
	if ran, err := runTool(args); ran {
		if err != nil {
			say("%v", err)
			return exitFailed
		}
		return 0
	}
	config, entrypoint, err := step.Parse(args)
	var newSigner inpod.Factory
	if err == nil {
		newSigner, err = signerOf(config.Backend)
	}
	if err != nil {
		say("%v; the arguments are written by the add-on: check that it and the signer image are of one version", err)
		return exitUsage
	}
	return wrapper{config: config, newSigner: newSigner, say: say}.run(entrypoint)
}

// runTool runs the commands that sign nothing.
func runTool(args []string) (ran bool, err error) {
	switch {
	case len(args) == 2 && args[0] == step.CommandInstall:
		return true, install(args[1])
	case len(args) == 3 && args[0] == step.CommandEmit:
		return true, emit(args[1], args[2])
	}
	return false, nil
}

// speaker returns a function that writes a line to the step's log.
func speaker(w io.Writer) func(format string, args ...any) {
	return func(format string, args ...any) {
		fmt.Fprintf(w, "tekton-sign: %s\n", oneLine(fmt.Sprintf(format, args...)))
	}
}
