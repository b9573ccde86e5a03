// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
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
		Short: "Show what is on, and whether it does what the settings say",
		Long: `Show what is on and where it is written, the health of every part of the add-on, in what the installation differs from what
its settings ask for (missing policies, edited webhooks, wrong versions, namespaces without their grant or with one too many), and
the newest verdicts. It reads only. What you may not read is shown as such, and all the rest is looked at.

json and yaml give one object of kind StatusReport; docs/schema has its schema. jsonpath and go-template are applied to that
object, name lists the objects that are not as they should be.

In a monitor, bound the time with --request-timeout, and leave TaskRuns alone with --verdicts 0.

Exit codes, the same for every output format; the strongest wins, in this order:
  4  a check failed: something is broken or was changed, so that signing or enforcement does not do what the settings say
  1  wrong usage
  2  the cluster is out of reach, or a part cannot be evaluated, for want of a permission for example
  3  signing is off
  5  there are warnings, with --strict
  0  signing is on, and all is well`,
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
	f.BoolVar(&o.strict, "strict", false, "warnings end with exit code 5")
	f.IntVar(&o.verdicts, "verdicts", 10, "how many of the newest verdicts to show; 0: do not look at TaskRuns")
	f.StringVar(&o.tektonNamespace, "tekton-namespace", "", "namespace of Tekton's controller (default: found by its labels)")
	_ = cmd.RegisterFlagCompletionFunc("output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return report.StatusFormats(), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
	completeWords(cmd, "verdicts", "0", "10", "100")
	_ = cmd.RegisterFlagCompletionFunc("tekton-namespace", cobra.NoFileCompletions)
	return cmd
}

// run looks and prints. A cluster that cannot be asked ends in a report, too.
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
	found, err := o.look(ctx, e)
	if err != nil {
		return o.outOfReach(e.Out, write, explainCluster(err))
	}
	if err := write(report.NewStatus(found), e.Out); err != nil {
		return err
	}
	if code := o.exitCode(found.Outcome); code != ExitOK {
		return withExit(code, nil)
	}
	return nil
}

func (o *statusOptions) look(ctx context.Context, e *env) (*status.Status, error) {
	clients, err := e.enableClients()
	if err != nil {
		return nil, err
	}
	return checks.Status(ctx, clients, checks.Options{
		Program: e.name, Version: version.Get().Version, TektonNamespace: o.tektonNamespace, Verdicts: o.verdicts, Now: time.Now,
	})
}

// outOfReach writes the report of a cluster that could not be asked. People read the error itself, on standard error.
func (o *statusOptions) outOfReach(w io.Writer, write func(*report.StatusReport, io.Writer) error, err error) error {
	found := &status.Status{Checks: []status.Check{{
		Part: status.PartCluster, ID: status.CheckCluster, Status: verify.Unknown, Message: err.Error(),
	}}}
	found.Conclude(false)
	if o.output != "table" {
		if failed := write(report.NewStatus(found), w); failed != nil {
			return failed
		}
	}
	return err
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
