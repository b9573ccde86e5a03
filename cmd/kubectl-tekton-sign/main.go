// SPDX-License-Identifier: Apache-2.0

// Command kubectl-tekton-sign is the plugin, called as kubectl tekton-sign or tkn sign.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubeconfigs may use any of kubectl's ways to log in

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := cli.Run(ctx, os.Args[0], os.Args[1:], streams)
	stop()
	os.Exit(code)
}
