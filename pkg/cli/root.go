// SPDX-License-Identifier: Apache-2.0

// Package cli holds the commands of the plugin, one file for each. It parses flags, calls other packages and prints.
// The decisions are in pkg/verify and pkg/enable.
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

// env is what every command needs: its input and output, and how to reach the cluster.
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

// maxErrorText is how many characters of an error are shown. API servers quote whole objects.
const maxErrorText = 1000

// printError shows an error in one line, with everything escaped that a cluster or a file put into it.
func (e *env) printError(err error) {
	if err != nil && err.Error() != "" {
		fmt.Fprintln(e.ErrOut, "error:", display.Short(err.Error(), maxErrorText))
	}
}

// silenceClients keeps client-go from writing to standard error. It also returns its errors to the command.
func silenceClients() { klog.SetLogger(logr.Discard()) }

// newRoot builds the whole command tree.
func newRoot(program string, streams genericiooptions.IOStreams) *cobra.Command {
	color := colorMode("auto")
	e := &env{
		IOStreams: streams, config: genericclioptions.NewConfigFlags(true), color: &color, name: displayName(program),
	}
	root := &cobra.Command{
		Use:           executable(program),
		Short:         "Sign and verify the results of Tekton TaskRuns",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: e.name},
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		RunE:          showHelp,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	e.config.AddFlags(root.PersistentFlags())
	root.PersistentFlags().Var(e.color, "color", "colour the output: auto (on a terminal), always, never")
	root.AddCommand(
		newPreflightCommand(e), newEnableCommand(e), newDisableCommand(e), newStatusCommand(e), newVerifyCommand(e),
		newEvidenceCommand(e), newTrustCommand(e), newVersionCommand(e),
	)
	addCompletion(e, root)
	return root
}

// showHelp runs a command that only has subcommands. Without it, cobra ends any unknown subcommand with success.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// knownCommand checks the arguments of a command that only has subcommands: any argument is an unknown subcommand.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2 // letters, as cobra has it
	}
	hint := "see " + cmd.CommandPath() + " --help"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q for %q: %s", args[0], cmd.CommandPath(), hint)
}

// displayName returns the words with which the user starts the program: through kubectl, tkn, or directly.
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
