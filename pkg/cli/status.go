// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status/checks"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// maxVerdicts bounds --verdicts.
const maxVerdicts = 1000

// statusOptions are the flags of status.
type statusOptions struct {
	output          string
	strict          bool
	verdicts        int
	tektonNamespace string
}

func newStatusCommand(e *env) *cobra.Command {
	o := &statusOptions{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether signing is on and works as configured",
		Long: `Show whether signing is on, which settings apply and where each comes from, how healthy each part of
the add-on is, and the newest verdicts. Status also compares the cluster with the settings: it finds
missing policies, edited webhooks, wrong versions, and namespaces that lack their token grant or have
one that they should not have. It changes nothing. If you lack a permission, status shows what it
could not read, and checks everything else.

The formats json and yaml print one object of kind StatusReport. Its schema is in docs/schema.
jsonpath and go-template apply to that object. name lists the objects that need attention.

In a monitor, limit the time with --request-timeout, and skip the TaskRuns with --verdicts 0.

Exit codes. They are the same for every output format. If several apply, the first in this list counts:
  4  a check failed: signing or enforcement does not work as configured
  1  wrong usage
  2  the cluster is out of reach, or a check lacks a permission
  3  signing is off
  5  there are warnings, and --strict is set
  0  signing is on, and every check passed`,
		Example: fmt.Sprintf(`  %[1]s status

  # In a monitor
  %[1]s status --verdicts 0 --request-timeout 20s -o name

  # What failed
  %[1]s status -o jsonpath='{range .checks[?(@.status=="fail")]}{.id}: {.message}{"\n"}{end}'`, e.name),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "table", "output format: "+strings.Join(report.StatusFormats(), ", "))
	f.BoolVar(&o.strict, "strict", false, "exit with code 5 if there are warnings")
	f.IntVar(&o.verdicts, "verdicts", 10, "how many of the newest verdicts to show; 0: do not read TaskRuns")
	f.StringVar(&o.tektonNamespace, "tekton-namespace", "",
		"namespace of Tekton's controller (default: found by its labels)")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(report.StatusFormats(),
		cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	completeWords(cmd, "verdicts", "0", "10", "100")
	_ = cmd.RegisterFlagCompletionFunc("tekton-namespace", cobra.NoFileCompletions)
	return cmd
}

// run checks the cluster and prints a report, also if the cluster is out of reach.
func (o *statusOptions) run(ctx context.Context, e *env) error {
	if o.verdicts < 0 || o.verdicts > maxVerdicts {
		return fmt.Errorf("--verdicts: expected a number from 0 to %d, got %d", maxVerdicts, o.verdicts)
	}
	options := report.StatusOptions{Style: e.color.style(e.Out, os.Getenv)}
	if isTerminal(e.Out) {
		options.Now = time.Now()
	}
	write, err := report.StatusPrinter(o.output, options)
	if err != nil {
		return err
	}
	found, err := o.check(ctx, e)
	if err != nil {
		err = explainCluster(err)
		return outOfReach(o.output, err, func() error { return write(report.NewStatus(unreachable(err)), e.Out) })
	}
	if err := write(report.NewStatus(found), e.Out); err != nil {
		return err
	}
	if code := o.exitCode(found.Outcome); code != ExitOK {
		return withExit(code, nil)
	}
	return nil
}

func (o *statusOptions) check(ctx context.Context, e *env) (*status.Status, error) {
	clients, err := e.enableClients()
	if err != nil {
		return nil, err
	}
	return checks.Status(ctx, clients, checks.Options{
		Program: e.name, Version: version.Get().Version, TektonNamespace: o.tektonNamespace, Verdicts: o.verdicts,
		Now: time.Now,
	})
}

// outOfReach writes the report about a cluster that did not answer. The table leaves that to the error on standard
// error.
func outOfReach(format string, err error, write func() error) error {
	if format != "table" {
		if failed := write(); failed != nil {
			return failed
		}
	}
	return err
}

// unreachable is the status of a cluster that did not answer.
func unreachable(err error) *status.Status {
	found := &status.Status{Checks: []status.Check{{
		Part: status.PartCluster, ID: status.CheckCluster, Status: verify.Unknown, Message: err.Error(),
	}}}
	found.Conclude(false)
	return found
}

func (o *statusOptions) exitCode(outcome status.Outcome) int {
	switch outcome {
	case status.Healthy:
		return ExitOK
	case status.Warnings:
		if o.strict {
			return ExitWarnings
		}
		return ExitOK
	case status.Off:
		return ExitUnsigned
	case status.Unknown:
		return ExitIndeterminate
	case status.Broken:
		return ExitFailed
	}
	return ExitFailed
}
