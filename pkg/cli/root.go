// SPDX-License-Identifier: Apache-2.0

// Package cli holds the commands of the plugin, one file a verb, built by constructors. It parses, calls and prints:
// what to verify or to change is decided in pkg/verify and pkg/enable.
package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// env is what every command is given: where to read and write, and how to reach the cluster.
type env struct {
	genericiooptions.IOStreams
	config *genericclioptions.ConfigFlags
	name   string // how the user calls the program, for hints
}

// Run executes the program called program (its argv[0]) with args and returns the exit code.
func Run(ctx context.Context, program string, args []string, streams genericiooptions.IOStreams) int {
	root := newRoot(program, streams)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && err.Error() != "" {
		fmt.Fprintln(streams.ErrOut, "error:", err)
	}
	return exitCode(err)
}

// newRoot builds the whole command tree.
func newRoot(program string, streams genericiooptions.IOStreams) *cobra.Command {
	e := &env{IOStreams: streams, config: genericclioptions.NewConfigFlags(true), name: displayName(program)}
	root := &cobra.Command{
		Use:           "kubectl-tekton_sign",
		Short:         "Sign and verify the results of Tekton TaskRuns",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: e.name},
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	e.config.AddFlags(root.PersistentFlags())
	root.AddCommand(newEnableCommand(e), newDisableCommand(e))
	return root
}

// displayName returns how the user calls the program: through kubectl, through tkn, or by its own name.
func displayName(program string) string {
	base := filepath.Base(program)
	switch {
	case strings.HasPrefix(base, "kubectl-"):
		return "kubectl tekton-sign"
	case strings.HasPrefix(base, "tkn-"):
		return "tkn sign"
	}
	return base
}
