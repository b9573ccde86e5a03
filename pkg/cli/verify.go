// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	files         []string
	recursive     bool
	selector      string
	allNamespaces bool
	watch         bool

	output  string
	verbose bool

	trustBundle  string
	bundleSHA256 string
	cluster      string
	offline      bool
	more         authorities

	tokens           tokenFlags
	skew             time.Duration
	minimumFormat    string
	minimumAssurance string
	requireSigned    bool
	allowCustomRuns  bool
	allowUnrecorded  bool
}

func newVerifyCommand(e *env) *cobra.Command {
	o := &verifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify (TYPE/NAME ... | TYPE [-l SELECTOR] [-A] | -f FILE)",
		Short: "Verify the results of TaskRuns",
		Long: `Verify that the results of TaskRuns are those that their steps signed.

Verify compares every step's evidence with the results, artifacts, exit codes, UID and pod that the
TaskRun shows now. It also verifies the earlier attempts of a TaskRun that was retried.

TYPE is taskrun or pipelinerun. For a PipelineRun, verify checks that it created each of its TaskRuns and
child PipelineRuns, that each ran what the pipeline defines with the results of those before it, and that
the PipelineRun's results are theirs. With -l or -A you can omit TYPE.

Files contain one or many TaskRuns in JSON or YAML: several documents, lines of JSON, Lists, or exports of
Tekton Results (records in JSON), also compressed with gzip. Verify reads one TaskRun at a time. In a
folder it reads every file whose name ends in .json, .jsonl, .ndjson, .yaml or .yml, or in one of these
with .gz added.

The evidence names the TaskRun's UID, but the step's own pod wrote it. Verify needs proof that the pod was
the TaskRun's: the owner of the live pod, or the record that the add-on writes into status.annotations
soon after a TaskRun has ended. Without such proof the verdict is INDETERMINATE. With --allow-unrecorded it
is VERIFIED (unrecorded).

With -f and --trust-bundle, verify does not use the network. --offline makes sure of that. Without
--trust-bundle, verify reads the keys from the cluster of the kubeconfig.

ConfigMap config-signing of the cluster defines the audience and the lifetime of signing tokens. Verify
reads it unless both the TaskRuns and the keys come from files. If it differs from the defaults, name the
values with --audience and --token-lifetime to verify offline. Verify warns if the admission policies that
protect signing tokens are missing or were changed, unless you lack the permission to read them.

The formats json and yaml print one object of kind VerificationReport, on success and on failure. Its
schema is in docs/schema. jsonpath and go-template apply to that object, and custom-columns to each of its
items. Every format escapes control characters. Verify needs the same memory for any number of TaskRuns,
except with jsonpath and go-template.

Exit codes. They are the same for every output format. If several apply, the first in this list counts:
  4  verification failed
  1  wrong usage, or input that cannot be read
  2  could not be evaluated: the cluster is out of reach, a permission or a key is missing,
     there is no such TaskRun, it is still running, or verify was interrupted
  3  unsigned, or there was nothing to verify
  0  verified`,
		Example: fmt.Sprintf(`  # Verify a TaskRun of the current namespace, or all TaskRuns of a PipelineRun
  %[1]s verify taskrun/build
  %[1]s verify pipelinerun/release

  # Verify many TaskRuns
  %[1]s verify -l app=shop
  %[1]s verify taskruns -A

  # Wait until they are done
  %[1]s verify pipelinerun/release --watch

  # Save the keys and the TaskRuns now, and verify offline later
  %[1]s trust export -o bundle.json
  kubectl get taskruns -A -o json | gzip > taskruns.json.gz
  %[1]s verify -f taskruns.json.gz --trust-bundle bundle.json --offline

  # Print what a program can read
  %[1]s verify taskrun/build -o json
  %[1]s verify -A -o custom-columns=NAME:.taskRun.name,VERDICT:.verdict,AT:.time.at`, e.name),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), e, args) },

		ValidArgsFunction: e.completeRuns,
	}
	o.addFlags(cmd.Flags())
	o.more.addFlags(cmd)
	completeVerifyFlags(cmd)
	return cmd
}

func (o *verifyOptions) addFlags(f *pflag.FlagSet) {
	f.StringSliceVarP(&o.files, "filename", "f", nil, "file or folder with TaskRuns; - is standard input; repeatable")
	f.BoolVarP(&o.recursive, "recursive", "R", false, "with -f FOLDER: also read the folders in it")
	f.StringVarP(&o.selector, "selector", "l", "", "only TaskRuns or PipelineRuns with these labels")
	f.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "verify in all namespaces")
	f.BoolVarP(&o.watch, "watch", "w", false, "wait for running TaskRuns, and show each when it is done")
	f.StringVarP(&o.output, "output", "o", "table", "output format: "+strings.Join(report.Formats(), ", "))
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show every check and result")
	f.StringVar(&o.trustBundle, "trust-bundle", "", "file with the keys to trust, written by trust export")
	f.StringVar(&o.bundleSHA256, "trust-bundle-sha256", "", "SHA-256 in hex that the trust bundle must have")
	f.StringVar(&o.cluster, "trust-bundle-cluster", "", "name or UID of the trust bundle's cluster, if it holds several")
	f.BoolVar(&o.offline, "offline", false, "fail instead of using the network")
	o.tokens.addAudience(f)
	o.tokens.addLifetime(f)
	f.DurationVar(&o.skew, "clock-skew", verify.DefaultClockSkew, "how much two clocks may differ")
	f.StringVar(&o.minimumFormat, "minimum-format", "", "refuse evidence of a weaker format: "+join(signing.Formats()))
	f.StringVar(&o.minimumAssurance, "minimum-assurance", "",
		"refuse evidence whose identity proves less: "+join(signing.Assurances()))
	f.BoolVar(&o.allowCustomRuns, "allow-custom-runs", false,
		"accept the results of a PipelineRun's custom runs, although nothing proves them")
	f.BoolVar(&o.allowUnrecorded, "allow-unrecorded", false,
		"accept evidence without proof that the pod was the TaskRun's: the verdict is VERIFIED (unrecorded)")
	f.BoolVar(&o.requireSigned, "require-signed", false, "treat a TaskRun without results as unsigned")
}

// join lists names for people.
func join[T ~string](names []T) string { return strings.Join(texts(names), ", ") }

func texts[T ~string](names []T) []string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = string(name)
	}
	return texts
}

func (o *verifyOptions) validate(args []string) error {
	live := len(args) > 0 || o.selector != "" || o.allNamespaces
	switch {
	case !live && len(o.files) == 0:
		return fmt.Errorf("nothing to verify: name a TaskRun as taskrun/NAME, or a file with -f FILE")
	case live && len(o.files) > 0:
		return fmt.Errorf("expected either TaskRuns of the cluster or files with -f, got both")
	case o.recursive && live:
		return fmt.Errorf("--recursive is for folders: name one with -f FOLDER")
	case o.skew < 0:
		return fmt.Errorf("--clock-skew: expected a positive duration, got %s", o.skew)
	case o.offline && live:
		return fmt.Errorf("--offline cannot read TaskRuns from the cluster: name files with -f FILE")
	case o.watch && !live:
		return fmt.Errorf("--watch waits for TaskRuns of the cluster: name them as taskrun/NAME")
	case o.offline && o.trustBundle == "":
		return fmt.Errorf("--offline cannot read keys from the cluster: name a file with --trust-bundle FILE")
	case o.bundleSHA256 != "" && o.trustBundle == "":
		return fmt.Errorf("--trust-bundle-sha256 pins a file: name it with --trust-bundle FILE")
	}
	if err := o.tokens.check(); err != nil {
		return err
	}
	_, err := o.verifierOptions()
	return err
}

// verifierOptions turns the flags into options of the verifier.
func (o *verifyOptions) verifierOptions() ([]verify.Option, error) {
	options := []verify.Option{verify.WithClockSkew(o.skew)}
	if o.allowUnrecorded {
		options = append(options, verify.WithUnrecorded())
	}
	if o.minimumFormat != "" {
		format, err := signing.ParseFormat(o.minimumFormat)
		if err != nil {
			return nil, fmt.Errorf("--minimum-format: %w", err)
		}
		options = append(options, verify.WithMinimumFormat(format))
	}
	if o.minimumAssurance != "" {
		assurance, err := signing.ParseAssurance(o.minimumAssurance)
		if err != nil {
			return nil, fmt.Errorf("--minimum-assurance: %w", err)
		}
		options = append(options, verify.WithMinimumAssurance(assurance))
	}
	return options, nil
}

// several reports whether more than one TaskRun may be asked for.
func (o *verifyOptions) several(args []string) bool {
	if len(args) == 1 && strings.HasPrefix(args[0], "t") && strings.Contains(args[0], "/") {
		return false // taskrun/NAME
	}
	oneFile := len(args) == 0 && len(o.files) == 1 && !runs.IsFolder(o.files[0])
	twoWords := len(args) == 2 && !strings.Contains(args[0], "/") && strings.HasPrefix(args[0], "t")
	return !oneFile && !twoWords
}

// selection is what the flags and arguments ask for.
func (o *verifyOptions) selection(args []string) runs.Selection {
	return runs.Selection{
		Files: o.files, Recursive: o.recursive,
		Args: args, Selector: o.selector, AllNamespaces: o.allNamespaces, AllowCustomRuns: o.allowCustomRuns,
	}
}

// run verifies and prints. Once the flags are valid, it prints a report whatever happens.
func (o *verifyOptions) run(ctx context.Context, e *env, args []string) error {
	if err := o.validate(args); err != nil {
		return err
	}
	if err := e.checkCluster(len(o.files) > 0 && o.trustBundle != ""); err != nil {
		return err
	}
	t, err := newTally(e, o, args)
	if err != nil {
		return err
	}
	v, source, err := o.verifier(ctx, e)
	if err := t.start(source); err != nil {
		return err
	}
	selected := o.selection(args)
	switch {
	case err != nil:
		err = t.add(runs.Finding{Err: err})
	case len(o.files) > 0:
		err = t.all(ctx, v, selected.FromFiles(e.In))
	case o.watch:
		err = e.follow(ctx, selected, v, t)
	default:
		err = t.all(ctx, v, selected.FromCluster(ctx, e.cluster()))
	}
	return t.end(ctx, err)
}
