// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	files       []string
	output      string
	trustBundle string
	cluster     string
	skew        time.Duration
	verbose     bool
	offline     bool
}

func newVerifyCommand(e *env) *cobra.Command {
	o := &verifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify (taskrun/NAME ... | -f FILE)",
		Short: "Verify the results of TaskRuns",
		Long: `Verify that the results of TaskRuns are the ones which their steps signed.

Every step's evidence is compared with what the TaskRun shows now: its results, artifacts, exit codes, UID and pod. With
-f and --trust-bundle no network is used. Without --trust-bundle the keys are read from the cluster of the kubeconfig.

Exit codes, the same for every output format; the strongest wins, in this order:
  4  verification failed
  1  wrong usage, or input that cannot be read
  2  could not be evaluated: unreachable, forbidden, no such TaskRun, still running, a key is missing
  3  unsigned, or there was nothing to verify
  0  verified`,
		Example: fmt.Sprintf(`  # A TaskRun of the current namespace
  %[1]s verify taskrun/build

  # Offline: keep the keys now, verify later
  %[1]s trust export -o bundle.json
  kubectl get taskrun build -o yaml > build.yaml
  %[1]s verify -f build.yaml --trust-bundle bundle.json

  # For machines
  %[1]s verify taskrun/build -o json`, e.name),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), e, args) },

		ValidArgsFunction: e.completeTaskRuns,
	}
	f := cmd.Flags()
	f.StringSliceVarP(&o.files, "filename", "f", nil, "file with TaskRuns, YAML or JSON; - is standard input; repeatable")
	f.StringVarP(&o.output, "output", "o", "table", "output format: table, json or yaml")
	f.StringVar(&o.trustBundle, "trust-bundle", "", "file with the keys to trust, written by trust export")
	f.StringVar(&o.cluster, "cluster", "", "name or UID of the trust bundle's cluster, if it holds several")
	f.DurationVar(&o.skew, "clock-skew", verify.DefaultClockSkew, "how far clocks may be apart")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show every check and result")
	f.BoolVar(&o.offline, "offline", false, "refuse everything that would use the network")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// outputFormats are the values of -o.
var outputFormats = []string{"table", "json", "yaml"}

func (o *verifyOptions) validate(args []string) error {
	switch {
	case !slices.Contains(outputFormats, o.output):
		return fmt.Errorf("--output: expected one of %s, got %q", strings.Join(outputFormats, ", "), o.output)
	case len(args) == 0 && len(o.files) == 0:
		return fmt.Errorf("nothing to verify: name a TaskRun as taskrun/NAME, or a file with -f FILE")
	case len(args) > 0 && len(o.files) > 0:
		return fmt.Errorf("expected either TaskRuns by name or files with -f, got both")
	case o.skew < 0:
		return fmt.Errorf("--clock-skew: expected a positive duration, got %s", o.skew)
	case o.offline && len(args) > 0:
		return fmt.Errorf("--offline cannot read TaskRuns from the cluster: name files with -f FILE")
	case o.offline && o.trustBundle == "":
		return fmt.Errorf("--offline cannot read keys from the cluster: name a file with --trust-bundle FILE")
	}
	return nil
}

// run verifies and prints. Whatever goes wrong after the flags were understood ends in a report, too.
func (o *verifyOptions) run(ctx context.Context, e *env, args []string) error {
	if err := o.validate(args); err != nil {
		return err
	}
	outcome := o.verify(ctx, e, args)
	r := report.New(outcome.trust, outcome.results, outcome.problems())
	if err := o.print(e, r); err != nil {
		return err
	}
	for _, err := range outcome.errs[:max(0, len(outcome.errs)-1)] {
		e.printError(err)
	}
	return outcome.exit()
}

// outcome is everything that came of a run.
type outcome struct {
	trust   *report.Trust
	results []verify.Result
	errs    []error // each names what it is about
}

func (o *outcome) problems() []report.Problem {
	var problems []report.Problem
	for _, err := range o.errs {
		problems = append(problems, report.Problem{Message: err.Error()})
	}
	return problems
}

// exit returns the error with which the command ends: the last one, under the strongest exit code of all.
func (o *outcome) exit() error {
	code := ExitOK
	if len(o.results) == 0 {
		code = ExitUnsigned // nothing was verified
	}
	verified := slices.ContainsFunc(o.results, func(r verify.Result) bool { return r.Verdict == verify.Verified })
	for _, r := range o.results {
		if r.Verdict == verify.NoResults && verified {
			continue
		}
		code = stronger(code, exitOf(r.Verdict))
	}
	var last error
	for _, err := range o.errs {
		code, last = stronger(code, exitCode(err)), err
	}
	if code == ExitOK {
		return nil
	}
	return withExit(code, last)
}

// exitOf is the exit code of a verdict.
func exitOf(v verify.Verdict) int {
	switch v {
	case verify.Verified:
		return ExitOK
	case verify.Unsigned, verify.NoResults:
		return ExitUnsigned
	case verify.Indeterminate:
		return ExitIndeterminate
	case verify.Failed:
		return ExitFailed
	}
	return ExitFailed
}

func (o *verifyOptions) verify(ctx context.Context, e *env, args []string) outcome {
	var out outcome
	inputs, errs := o.inputs(ctx, e, args)
	out.errs = errs
	if len(inputs) == 0 {
		return out
	}
	cluster, trust, err := o.trust(ctx, e, len(args) > 0)
	if err != nil {
		out.errs = append(out.errs, err)
		return out
	}
	verifier, err := verify.New(cluster, verify.WithClockSkew(o.skew))
	if err != nil {
		out.errs = append(out.errs, err)
		return out
	}
	out.trust = trust
	for _, in := range inputs {
		out.results = append(out.results, verifier.TaskRun(ctx, in.taskRun, in.facts))
	}
	return out
}

func (o *verifyOptions) print(e *env, r *report.Report) error {
	switch o.output {
	case "json":
		return r.JSON(e.Out)
	case "yaml":
		return r.YAML(e.Out)
	}
	return r.Table(e.Out, report.TableOptions{Style: e.color.style(e.Out, os.Getenv), Verbose: o.verbose})
}
