// SPDX-License-Identifier: Apache-2.0

// Package cli holds the commands of the plugin, one file a verb, built by constructors. It parses, calls and prints:
// what to verify or to change is decided in pkg/verify and pkg/enable.
package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
)

// env is what every command is given: where to read and write, and how to reach the cluster.
type env struct {
	genericiooptions.IOStreams
	config *genericclioptions.ConfigFlags
	color  *colorMode
	name   string // how the user calls the program, for hints
}

// Run executes the program called program (its argv[0]) with args and returns the exit code.
func Run(ctx context.Context, program string, args []string, streams genericiooptions.IOStreams) int {
	silenceClients()
	root := newRoot(program, streams)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	(&env{IOStreams: streams}).printError(err)
	return exitCode(err)
}

// maxErrorText is how much of an error is shown: API servers quote whole objects.
const maxErrorText = 1000

// printError shows an error in one line that is safe to show, whatever a cluster or a file put into it.
func (e *env) printError(err error) {
	if err != nil && err.Error() != "" {
		fmt.Fprintln(e.ErrOut, "error:", display.Short(err.Error(), maxErrorText))
	}
}

// silenceClients keeps client-go from writing to standard error on its own: its errors come back to the command.
func silenceClients() { klog.SetLogger(logr.Discard()) }

// newRoot builds the whole command tree.
func newRoot(program string, streams genericiooptions.IOStreams) *cobra.Command {
	color := colorMode("auto")
	e := &env{
		IOStreams: streams, config: genericclioptions.NewConfigFlags(true), color: &color, name: displayName(program),
	}
	root := &cobra.Command{
		Use:           "kubectl-tekton_sign",
		Short:         "Sign and verify the results of Tekton TaskRuns",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: e.name},
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          showHelp,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	e.config.AddFlags(root.PersistentFlags())
	root.PersistentFlags().Var(e.color, "color", "colour the output: auto (on a terminal), always, never")
	root.AddCommand(
		newEnableCommand(e), newDisableCommand(e), newStatusCommand(e), newVerifyCommand(e), newEvidenceCommand(e), newTrustCommand(e),
		newVersionCommand(e),
	)
	return root
}

// showHelp is what a command does that only has others under it. Without it cobra takes any unknown command for success.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

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
