// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/preflight"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status/checks"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// preflightOptions are the flags of preflight.
type preflightOptions struct {
	enable     enableOptions // its flags decide what is checked
	output     string
	only, skip []string
	list       bool
	strict     bool
	verbose    bool
	wait       time.Duration
}

func newPreflightCommand(e *env) *cobra.Command {
	o := &preflightOptions{}
	cmd := &cobra.Command{
		Use:   "preflight [BACKEND]",
		Short: "Check whether this cluster is ready for signing",
		Long: `Check whether this cluster is ready for signing, before anything is installed: the cluster, Tekton,
permissions, the backend, nodes, namespaces, and the room for evidence in the messages of your Tasks.
The settings are those of enable: give preflight the flags that you will give enable. Without BACKEND,
preflight checks for the one that is enabled, or for ` + string(backends.Enabled()[0].Name) + `.

For each problem, preflight shows the next step, why it matters, and where it is documented. Checks that
do not apply are shown with the reason. Preflight changes nothing. Check TS502 starts a few short pods,
which show whether nodes can pull the signer's image; --skip TS502 leaves it out.

Exit codes. They are the same for every output format. If several apply, the first in this list counts:
  4  a check failed: signing would not work, or a TaskRun would suffer
  1  wrong usage
  2  the cluster is out of reach, or something could not be found out
  5  there are warnings, and --strict is set
  0  the cluster is ready`,
		Example: fmt.Sprintf(`  %[1]s preflight

  # With the settings that enable will get
  %[1]s preflight %[2]s --namespaces ci,release --enforcement enforce

  # In CI, for up to five minutes, while the cluster is being made
  %[1]s preflight --wait 5m --strict -o junit

  # Only some checks
  %[1]s preflight --only tekton,TS603`, e.name, backends.Enabled()[0].Name),
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: backends.Names(backends.Enabled()),
		RunE:      func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), e, cmd.Flags(), args) },
	}
	o.addFlags(cmd)
	return cmd
}

func (o *preflightOptions) addFlags(cmd *cobra.Command) {
	addSettings(cmd)
	f := cmd.Flags()
	o.enable.addClusterFlags(f)
	f.StringVarP(&o.output, "output", "o", "table", "output format: "+strings.Join(report.PreflightFormats(), ", "))
	f.StringSliceVar(&o.only, "only", nil, "run only these checks: IDs or groups")
	f.StringSliceVar(&o.skip, "skip", nil, "leave out these checks: IDs or groups")
	f.BoolVar(&o.list, "list", false, "list the checks, and ask the cluster nothing")
	f.BoolVar(&o.strict, "strict", false, "exit with code 5 if there are warnings")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show what was found by checks that passed, too")
	f.DurationVar(&o.wait, "wait", 0, "repeat failed runs for this time, for example 5m")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(report.PreflightFormats(),
		cobra.ShellCompDirectiveNoFileComp))
	var names []string
	for _, g := range preflight.Groups() {
		names = append(names, string(g))
	}
	for _, c := range preflight.Checks() {
		names = append(names, cobra.CompletionWithDesc(string(c.ID), c.Title))
	}
	completeWords(cmd, "only", names...)
	completeWords(cmd, "skip", names...)
	completeWords(cmd, "wait", "1m", "5m")
}

func (o *preflightOptions) run(ctx context.Context, e *env, f *pflag.FlagSet, args []string) error {
	write, err := report.PreflightPrinter(o.output, e.color.style(e.Out, os.Getenv), o.verbose)
	if err != nil {
		return err
	}
	selected, err := preflight.Select(preflight.Checks(), o.only, o.skip)
	if err != nil {
		return err
	}
	if o.wait < 0 {
		return fmt.Errorf("--wait: expected a time of 0 or more, got %s", o.wait)
	}
	if o.list {
		return listChecks(e.Out, selected)
	}
	found, err := o.untilReady(ctx, e, f, args, selected)
	if err != nil {
		err = explainCluster(err)
		return outOfReach(o.output, err, func() error {
			return write(report.NewPreflight(preflight.Unreachable(strings.Join(args, ""), err)), e.Out)
		})
	}
	if err := write(report.NewPreflight(found), e.Out); err != nil {
		return err
	}
	if code := o.exitCode(found.Outcome); code != ExitOK {
		return withExit(code, nil)
	}
	return nil
}

// waitInterval is the time between two runs with --wait.
const waitInterval = 5 * time.Second

// untilReady runs the checks, and repeats them within the time of --wait while the cluster is not ready.
func (o *preflightOptions) untilReady(
	ctx context.Context, e *env, f *pflag.FlagSet, args []string, selected []preflight.Check,
) (*preflight.Report, error) {
	end := time.Now().Add(o.wait)
	for {
		found, err := o.check(ctx, e, f, args, selected)
		ready := err == nil && found.Outcome != preflight.NotReady && found.Outcome != preflight.Undecided
		if ready || time.Until(end) < waitInterval {
			return found, err
		}
		fmt.Fprintf(e.ErrOut, "not ready yet; trying again for %s\n", time.Until(end).Round(time.Second))
		select {
		case <-ctx.Done():
			return found, context.Cause(ctx)
		case <-time.After(waitInterval):
		}
	}
}

func (o *preflightOptions) check(
	ctx context.Context, e *env, f *pflag.FlagSet, args []string, selected []preflight.Check,
) (*preflight.Report, error) {
	clients, err := e.enableClients()
	if err != nil {
		return nil, err
	}
	request, err := o.enable.request(f, wantedBackend(ctx, clients, args))
	if err != nil {
		return nil, err
	}
	facts, err := preflight.Read(ctx, clients, request, checks.Options{
		Program: e.name, Version: version.Get().Version, TektonNamespace: o.enable.tektonNamespace, Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	return facts.Report(ctx, selected, preflightProgress(e)), nil
}

// wantedBackend returns the backend in the arguments, or the one that is enabled, or the first of the table.
func wantedBackend(ctx context.Context, clients enable.Clients, args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	live, err := enable.ReadLive(ctx, clients.Kube)
	if err == nil && live.Settings.Backend != signing.BackendNone && backends.Of(live.Settings.Backend).Enabled {
		return string(live.Settings.Backend)
	}
	return string(backends.Enabled()[0].Name)
}

// preflightProgress shows on a terminal how many checks are done.
func preflightProgress(e *env) preflight.Progress {
	if !isTerminal(e.ErrOut) {
		return func(int, int, preflight.Result) {}
	}
	return func(done, all int, r preflight.Result) {
		line := fmt.Sprintf("checked %d of %d: %s", done, all, display.Short(string(r.ID)+" "+r.Title, display.DefaultWidth))
		if done == all {
			line = ""
		}
		fmt.Fprintf(e.ErrOut, "\r\033[K%s", line)
	}
}

// listChecks prints the table of checks.
func listChecks(w io.Writer, selected []preflight.Check) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tGROUP\tTITLE")
	for _, c := range selected {
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.ID, c.Group, c.Title)
	}
	return t.Flush()
}

func (o *preflightOptions) exitCode(outcome preflight.Outcome) int {
	switch outcome {
	case preflight.Ready:
		return ExitOK
	case preflight.Drawbacks:
		if o.strict {
			return ExitWarnings
		}
		return ExitOK
	case preflight.Undecided:
		return ExitIndeterminate
	case preflight.NotReady:
	}
	return ExitFailed
}
