// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/budget"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs/read"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status/checks"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// Caps of flags.
const (
	maxRecent      = 1000
	maxResultBytes = 4096
	usualResult    = len("sha256:") + 64 // a digest
)

// budgetOptions are the flags of budget.
type budgetOptions struct {
	selected        runs.Selection
	output          string
	verbose, strict bool
	recent          int
	resultBytes     int
	backend         string
	compression     string
	resultsFrom     string
	trustBundle     string
	tektonNamespace string
}

// budgetSettings are the keys of the settings that budget has flags for, besides the backend.
func budgetSettings() []string {
	return []string{settings.KeyEnforcement, settings.KeyFormat, settings.KeyBinding, settings.KeyDelivery,
		settings.KeyReceipts}
}

func newBudgetCommand(e *env) *cobra.Command {
	o := &budgetOptions{}
	cmd := &cobra.Command{
		Use:   "budget [TYPE/NAME ... | TYPE | -f FILE]",
		Short: "Show whether results and evidence fit into termination messages",
		Long: `Show whether the results and the evidence of Tasks fit into the termination messages of their pods.

The containers of a pod share 12 KiB for these messages, and none has more than 4 KiB. Budget simulates
the pod of each Task, with the signer in it, and fills the messages as the signer does. If they do not
fit, it shows the cheapest changes that help, each for itself, with the command.

TYPE is task, pipeline or taskrun. Without arguments, budget shows the Tasks, the Pipelines and the newest
TaskRuns (--recent) of the namespace. A Pipeline is shown as its tasks. For a TaskRun that has completed,
the results are those that it emitted. For others, each declared result is assumed to have --result-bytes.
A Task that comes from a resolver is not read, and shown as unknown: name a TaskRun of it.

The settings are those of the cluster. With -f they are the defaults, and budget does not use the network.
Flags such as --format simulate others, in both cases.

EFFECT is what happens to TaskRuns: signed, close (signed, unless a few bytes are missing), receipt
(verified by receipt, without evidence), unsigned, fails (where results are enforced), lost (the kubelet
cuts the results, with the signer or without), or unknown. C is the number of containers, SHARE the bytes
of each message. The other numbers are bytes of the fullest message, ~ if they vary from run to run.

Exit codes. They are the same for every output format. If several apply, the first in this list counts:
  4  results are lost, or TaskRuns fail
  1  wrong usage, or a file cannot be read
  2  something could not be found out, or the cluster is out of reach
  3  TaskRuns stay unsigned, or there is nothing to simulate
  5  TaskRuns are close to the limit, or verified by receipt, and --strict is set
  0  everything fits`,
		Example: fmt.Sprintf(`  %[1]s budget

  # One Task, with every way to sign
  %[1]s budget task/build -v

  # What would fail if results were enforced in all namespaces
  %[1]s budget -A --enforcement enforce

  # Before you commit, without a cluster
  %[1]s budget -f tekton/ --trust-bundle bundle.json`, e.name),
		ValidArgsFunction: e.completeBudget,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), e, cmd.Flags(), args)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func (o *budgetOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVarP(&o.selected.Files, "filename", "f", nil,
		"file or folder with Tasks, Pipelines or TaskRuns; - is standard input; repeatable")
	f.BoolVarP(&o.selected.Recursive, "recursive", "R", false, "with -f FOLDER: also read the folders in it")
	f.StringVarP(&o.selected.Selector, "selector", "l", "", "label selector")
	f.BoolVarP(&o.selected.AllNamespaces, "all-namespaces", "A", false, "of all namespaces")
	f.StringVarP(&o.output, "output", "o", "table", "output format: "+strings.Join(report.BudgetFormats(), ", "))
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show every way to sign, too")
	f.BoolVar(&o.strict, "strict", false, "exit with code 5 if something is close to the limit, or needs a receipt")
	f.IntVar(&o.recent, "recent", 20, "how many of the newest TaskRuns to show if no argument names any")
	f.IntVar(&o.resultBytes, "result-bytes", usualResult, "bytes that each declared result is assumed to have")
	f.StringVar(&o.backend, "backend", "", "simulate this backend")
	f.StringVar(&o.compression, "compression", "", "simulate compression of messages: off, when-needed, always")
	f.StringVar(&o.resultsFrom, "results-from", "", "simulate Tekton's results-from: termination-message, sidecar-logs")
	f.StringVar(&o.trustBundle, "trust-bundle", "",
		"file with the keys of the cluster, which determine how long tokens are")
	f.StringVar(&o.tektonNamespace, "tekton-namespace", "",
		"namespace of Tekton's controller (default: found by its labels)")
	for _, key := range budgetSettings() {
		field, _ := settings.FieldOf(key)
		f.String(field.Flag, "", "simulate: "+field.Help)
		completeWords(cmd, field.Flag, field.Only...)
	}
	completeWords(cmd, "output", report.BudgetFormats()...)
	completeWords(cmd, "backend", backends.Names(backends.Enabled())...)
	completeWords(cmd, "compression", budget.Compressions()...)
	completeWords(cmd, "results-from", budget.Carriers()...)
	completeWords(cmd, "recent", "0", "20", "100")
	completeWords(cmd, "result-bytes", "0", "71")
	_ = cmd.RegisterFlagCompletionFunc("filename", cobra.FixedCompletions([]string{"json", "yaml", "yml", "gz"},
		cobra.ShellCompDirectiveFilterFileExt))
	_ = cmd.RegisterFlagCompletionFunc("trust-bundle", cobra.FixedCompletions([]string{"json"},
		cobra.ShellCompDirectiveFilterFileExt))
	_ = cmd.RegisterFlagCompletionFunc("selector", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("tekton-namespace", cobra.NoFileCompletions)
}

func (o *budgetOptions) validate(args []string) error {
	files := len(o.selected.Files) > 0
	switch {
	case files && (len(args) > 0 || o.selected.AllNamespaces || o.selected.Selector != ""):
		return fmt.Errorf("expected either objects of the cluster or files with -f, got both")
	case o.selected.Recursive && !files:
		return fmt.Errorf("--recursive is for folders: name one with -f FOLDER")
	case o.recent < 0 || o.recent > maxRecent:
		return fmt.Errorf("--recent: expected a number from 0 to %d, got %d", maxRecent, o.recent)
	case o.resultBytes < 0 || o.resultBytes > maxResultBytes:
		return fmt.Errorf("--result-bytes: expected a number from 0 to %d, got %d", maxResultBytes, o.resultBytes)
	case o.compression != "" && !slices.Contains(budget.Compressions(), budget.Compression(o.compression)):
		return fmt.Errorf("--compression: expected one of off, when-needed, always, got %q", o.compression)
	case o.resultsFrom != "" && !slices.Contains(budget.Carriers(), budget.Carrier(o.resultsFrom)):
		return fmt.Errorf("--results-from: expected termination-message or sidecar-logs, got %q", o.resultsFrom)
	case o.backend != "" && !slices.Contains(backends.Names(backends.Enabled()), o.backend):
		return fmt.Errorf("--backend: expected one of %s, got %q",
			strings.Join(backends.Names(backends.Enabled()), ", "), o.backend)
	}
	return nil
}

// wanted returns what the flags ask for.
func (o *budgetOptions) wanted(ctx context.Context, e *env, f *pflag.FlagSet) (read.Wanted, error) {
	w := read.Wanted{
		Settings: map[string]string{}, Compression: budget.Compression(o.compression),
		ResultsFrom: budget.Carrier(o.resultsFrom), ResultBytes: o.resultBytes, Program: e.name,
	}
	if o.backend != "" {
		w.Settings[settings.KeyBackend] = o.backend
	}
	for _, key := range budgetSettings() {
		field, _ := settings.FieldOf(key)
		if value := f.Lookup(field.Flag).Value.String(); value != "" {
			w.Settings[key] = value
		}
	}
	if o.trustBundle == "" {
		return w, nil
	}
	bundle, _, err := readBundle(ctx, e.In, o.trustBundle)
	if err != nil {
		return w, err
	}
	w.Bundle, err = bundle.Cluster("")
	return w, err
}

func (o *budgetOptions) run(ctx context.Context, e *env, f *pflag.FlagSet, args []string) error {
	o.selected.Args = args
	if err := o.validate(args); err != nil {
		return err
	}
	printer, err := report.NewBudgetPrinter(o.output, e.Out, e.color.style(e.Out, os.Getenv), o.verbose)
	if err != nil {
		return err
	}
	w, err := o.wanted(ctx, e, f)
	if err != nil {
		return err
	}
	r := &budgetRun{printer: printer, errOut: e.ErrOut, all: o.verbose || o.output != "table"}
	if err := o.simulate(ctx, e, w, r); err != nil {
		return err
	}
	if r.failed == nil {
		r.failed = printer.End(r.summary)
	}
	if r.failed != nil {
		return r.failed
	}
	if code := r.exitCode(len(o.selected.Files) > 0, o.strict); code != ExitOK {
		return withExit(code, nil)
	}
	return nil
}

// simulate reads what is selected, and simulates it.
func (o *budgetOptions) simulate(ctx context.Context, e *env, w read.Wanted, r *budgetRun) error {
	sink := func(s *budget.Subject, err error) bool { return r.sink(ctx, s, err) }
	if len(o.selected.Files) > 0 {
		c, err := read.Offline(w)
		if err == nil && r.start(c) {
			read.FromFiles(ctx, o.selected, e.In, sink)
		}
		return cmp.Or(err, ctx.Err())
	}
	clients, err := e.enableClients()
	if err != nil {
		return outOfReach(o.output, err, func() error { return r.unreachable(err) })
	}
	c, err := read.Live(ctx, clients, checks.Options{
		Program: e.name, Version: version.Get().Version, TektonNamespace: o.tektonNamespace, Now: time.Now,
	}, w)
	if err != nil {
		err = explainCluster(err)
		return outOfReach(o.output, err, func() error { return r.unreachable(err) })
	}
	if r.start(c) {
		read.FromCluster(ctx, o.selected, read.Source{
			Cluster: e.cluster(), Finder: read.NewFinder(clients), Pod: read.PodOf(clients), Recent: o.recent,
		}, sink)
	}
	return ctx.Err()
}

// budgetRun writes items while they are simulated.
type budgetRun struct {
	printer report.BudgetPrinter
	errOut  io.Writer
	cluster *read.Cluster
	all     bool // simulate every way
	summary report.BudgetSummary
	failed  error // of writing
}

// start writes the beginning of the report, and reports whether to go on.
func (r *budgetRun) start(c *read.Cluster) bool {
	r.cluster = c
	r.failed = r.printer.Start(&report.BudgetFacts{
		Way: c.Way, Issuer: c.Tokens.Issuer, TokensFrom: c.TokensFrom, ResultBytes: c.ResultBytes, Notes: c.Notes,
	})
	return r.failed == nil
}

// unreachable writes the report about a cluster that did not answer.
func (r *budgetRun) unreachable(err error) error {
	if err := r.printer.Start(nil); err != nil {
		return err
	}
	if err := r.printer.Problem(report.Problem{Message: err.Error()}); err != nil {
		return err
	}
	r.summary.Errors++
	return r.printer.End(r.summary)
}

func (r *budgetRun) sink(ctx context.Context, s *budget.Subject, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		r.summary.Errors++
		fmt.Fprintln(r.errOut, "error:", display.Short(err.Error(), maxErrorText))
		r.failed = r.printer.Problem(report.Problem{Message: err.Error()})
		return r.failed == nil
	}
	s.Mode = r.cluster.Mode(s.Namespace)
	item := r.cluster.Judge(s, r.all)
	r.summary.Add(item.Effect)
	r.failed = r.printer.Item(&item)
	return r.failed == nil
}

func (r *budgetRun) exitCode(files, strict bool) int {
	s := r.summary
	switch {
	case s.Lost+s.Fails > 0:
		return ExitFailed
	case s.Errors > 0 && files:
		return ExitError
	case s.Errors+s.Unknown > 0:
		return ExitIndeterminate
	case s.Unsigned > 0, s.Signed+s.Close+s.Receipt == 0:
		return ExitUnsigned
	case strict && s.Close+s.Receipt > 0:
		return ExitWarnings
	}
	return ExitOK
}

// completeBudget completes the names of Tasks, Pipelines and TaskRuns.
func (e *env) completeBudget(
	cmd *cobra.Command, args []string, toComplete string,
) ([]string, cobra.ShellCompDirective) {
	kind, _, named := strings.Cut(toComplete, "/")
	types := map[string]string{"task": runs.Tasks, "pipeline": runs.Pipelines, "taskrun": runs.TaskRuns}
	if !named {
		return []string{"task/", "pipeline/", "taskrun/"},
			cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	namespace, _, err := e.config.ToRawKubeConfigLoader().Namespace()
	if err != nil || types[kind] == "" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := e.completeNames(cmd, runs.Resource(types[kind]), namespace, kind+"/", args, toComplete)
	return names, cobra.ShellCompDirectiveNoFileComp
}
