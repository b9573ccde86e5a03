// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/evidence"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// evidenceOptions are the flags of evidence.
type evidenceOptions struct {
	files       []string
	output      string
	outputFile  string
	step        string
	trustBundle string
	cluster     string
	tokens      tokenFlags
	verbose     bool
}

func newEvidenceCommand(e *env) *cobra.Command {
	o := &evidenceOptions{}
	cmd := &cobra.Command{
		Use:   "evidence (taskrun/NAME ... | -f FILE)",
		Short: "Show or export the evidence of TaskRuns, without verifying it",
		Long: `Show the evidence of each step, or export it for other tools. This command does not verify: use verify.

It shows each field of the header, the token's claims, the certificates, the public key, the form of the
signature, and the statement that a verifier rebuilds, with its digest beside the one in the token. It
does not show the token itself. If the add-on's record contains a receipt, it also shows what the
kubelet reported about the pod.

An export has one line for each step, with one JSON object:
` + exportLines() + `
With -f the command does not use the network, and reads at most 16 MiB of objects. If ConfigMap
config-signing of the cluster changes the audience of signing tokens, name it with --audience.

Exit codes: 0 shown or exported, 1 wrong usage or not possible for this evidence, 2 the cluster is out
of reach, a permission is missing or there is no such TaskRun, 3 no step has evidence, and there is no
receipt.`,
		Example: fmt.Sprintf(`  # What the steps of a TaskRun signed
  %[1]s evidence taskrun/build

  # The same for a file, as JSON
  %[1]s evidence -f build.yaml -o json

  # One step's statement, with its token and the key that checks it
  %[1]s evidence -f build.yaml --step publish -o in-toto --trust-bundle bundle.json

  # A DSSE envelope for each step that signed with a key
  %[1]s evidence taskrun/build -o dsse --output-file build.dsse.jsonl`, e.name),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), e, args) },

		ValidArgsFunction: e.completeRuns,
	}
	f := cmd.Flags()
	f.StringSliceVarP(&o.files, "filename", "f", nil, "file with TaskRuns, YAML or JSON; - is standard input; repeatable")
	f.StringVarP(&o.output, "output", "o", "table", "output format: "+strings.Join(evidenceFormats(), ", "))
	f.StringVar(&o.outputFile, "output-file", "", "file to write (default: standard output)")
	f.StringVar(&o.step, "step", "", "only this step")
	f.StringVar(&o.trustBundle, "trust-bundle", "", "with -o in-toto: file with the keys to add, written by trust export")
	f.StringVar(&o.cluster, "trust-bundle-cluster", "", "name or UID of the trust bundle's cluster, if it holds several")
	o.tokens.addAudience(f)
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show everything in full, with the statement")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(evidenceFormats(),
		cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("audience", completeAudience)
	return cmd
}

// exportLines describes the forms of exports, one on each line.
func exportLines() string {
	var lines strings.Builder
	for _, f := range evidence.ExportFormats() {
		fmt.Fprintf(&lines, "  %-16s %s\n", f, f.Summary())
	}
	return lines.String()
}

// inspectFormats are the values of -o that show evidence. The others export it.
var inspectFormats = []string{"table", "json", "yaml"}

func evidenceFormats() []string {
	formats := slices.Clone(inspectFormats)
	for _, f := range evidence.ExportFormats() {
		formats = append(formats, string(f))
	}
	return formats
}

func (o *evidenceOptions) validate(args []string) error {
	switch {
	case !slices.Contains(evidenceFormats(), o.output):
		return fmt.Errorf("--output: expected one of %s, got %q", strings.Join(evidenceFormats(), ", "), o.output)
	case len(args) == 0 && len(o.files) == 0:
		return fmt.Errorf("nothing to show: name a TaskRun as taskrun/NAME, or a file with -f FILE")
	case len(args) > 0 && len(o.files) > 0:
		return fmt.Errorf("expected either TaskRuns by name or files with -f, got both")
	case o.trustBundle != "" && o.output != string(evidence.ExportInToto):
		return fmt.Errorf("--trust-bundle is for -o %s only: nothing is verified here", evidence.ExportInToto)
	case o.cluster != "" && o.trustBundle == "":
		return fmt.Errorf("--trust-bundle-cluster chooses a cluster of a trust bundle: it needs --trust-bundle FILE")
	}
	return o.tokens.check()
}

// audience is the first part of the audience of signing tokens.
func (o *evidenceOptions) audience(ctx context.Context, e *env, live bool) (string, error) {
	var kube kubeclient.Interface
	if live && o.tokens.audience == "" {
		var err error
		if kube, err = e.kube(); err != nil {
			return "", err
		}
	}
	rules, err := o.tokens.rules(ctx, kube)
	return rules.Audience, err
}

func (o *evidenceOptions) run(ctx context.Context, e *env, args []string) error {
	if err := o.validate(args); err != nil {
		return err
	}
	if err := e.checkCluster(len(o.files) > 0); err != nil {
		return err
	}
	prefix, err := o.audience(ctx, e, len(args) > 0)
	if err != nil {
		return err
	}
	inputs, errs := e.taskRuns(ctx, runs.Selection{Files: o.files, Args: args})
	var text bytes.Buffer
	if slices.Contains(inspectFormats, o.output) {
		errs, err = o.inspect(e, &text, prefix, inputs, errs)
	} else {
		errs, err = o.export(ctx, e, &text, prefix, inputs, errs)
	}
	if err != nil {
		return err
	}
	if err := o.write(e, text.Bytes()); err != nil {
		return err
	}
	return e.endWith(errs)
}

// inspect shows the evidence of inputs. A TaskRun without evidence is shown, too, and adds to errs.
func (o *evidenceOptions) inspect(
	e *env, text *bytes.Buffer, prefix string, inputs []*v1.TaskRun, errs []error,
) ([]error, error) {
	var items []evidence.TaskRun
	found := false
	for _, tr := range inputs {
		item := evidence.Inspect(tr, prefix)
		if o.step != "" {
			item.Steps = slices.DeleteFunc(item.Steps, func(s evidence.Step) bool {
				return s.Container != o.step && s.Container != tekton.StepContainer(o.step)
			})
			if len(item.Steps) == 0 {
				errs = append(errs, fmt.Errorf("--step: TaskRun %s has no step %q", item.TaskRun, o.step))
			}
		}
		found = found || item.HasEvidence()
		items = append(items, item)
	}
	r := report.NewEvidence(items, problemsOf(errs))
	if !found && len(errs) == 0 {
		errs = append(errs, withExit(ExitUnsigned, errors.New("no step carries evidence")))
	}
	switch o.output {
	case "json":
		return errs, r.JSON(text)
	case "yaml":
		return errs, r.YAML(text)
	}
	style := report.NewStyle(false)
	if o.outputFile == "" {
		style = e.color.style(e.Out, os.Getenv)
	}
	return errs, r.Table(text, report.Options{Style: style, Verbose: o.verbose})
}

// export writes one line for each step. A step that cannot be exported adds to errs, and the others are exported.
func (o *evidenceOptions) export(
	ctx context.Context, e *env, text *bytes.Buffer, prefix string, inputs []*v1.TaskRun, errs []error,
) ([]error, error) {
	keys, err := o.issuerKeys(ctx, e)
	if err != nil {
		return errs, err
	}
	options := evidence.ExportOptions{
		Format: evidence.ExportFormat(o.output), Step: o.step, Audience: prefix, IssuerKey: keys,
	}
	for _, tr := range inputs {
		name := tr.Namespace + "/" + tr.Name
		exported, err := evidence.Export(tr, options)
		if err != nil {
			errs = append(errs, exportError(name, err))
			continue
		}
		for _, step := range exported {
			where := name + ", " + step.Container
			if step.Err != nil {
				errs = append(errs, exportError(where, step.Err))
				continue
			}
			if step.Note != "" {
				fmt.Fprintf(e.ErrOut, "note: %s: %s\n", display.Safe(where), display.Safe(step.Note))
			}
			text.Write(append(step.Data, '\n'))
		}
	}
	if text.Len() > 0 {
		fmt.Fprintln(e.ErrOut, "note: exported without verification")
	}
	return errs, nil
}

func exportError(where string, err error) error {
	err = fmt.Errorf("%s: %w", where, err)
	if errors.Is(err, evidence.ErrNoEvidence) {
		return withExit(ExitUnsigned, err)
	}
	return err
}

// issuerKeys returns the function that finds the keys to add to exported statements, or nil to add none. If the
// cluster does not show its keys, the export goes on without them.
func (o *evidenceOptions) issuerKeys(ctx context.Context, e *env) (func(issuer, keyID string) json.RawMessage, error) {
	if o.output != string(evidence.ExportInToto) || o.trustBundle == "" && len(o.files) > 0 {
		return nil, nil
	}
	v := &verifyOptions{trustBundle: o.trustBundle, cluster: o.cluster}
	keys, err := v.trust(ctx, e, len(o.files) == 0)
	if err != nil && o.trustBundle != "" {
		return nil, err
	}
	if err != nil {
		fmt.Fprintf(e.ErrOut, "note: the cluster's keys cannot be read: %s\n", display.Short(err.Error(), maxErrorText))
		return nil, nil
	}
	return func(issuer, keyID string) json.RawMessage { return jwkOf(keys.cluster, issuer, keyID) }, nil
}

// jwkOf returns a cluster's key as a JWK, or nil if the cluster lacks a key of that ID.
func jwkOf(cluster *trust.Cluster, issuer, keyID string) json.RawMessage {
	for _, i := range cluster.ServiceAccountIssuers {
		for _, k := range i.Keys {
			if i.Issuer != issuer || k.JWK.KeyID != keyID {
				continue
			}
			if data, err := json.Marshal(k.JWK); err == nil {
				return data
			}
		}
	}
	return nil
}

// write writes the output to where it was asked for.
func (o *evidenceOptions) write(e *env, data []byte) error {
	if o.outputFile == "" || o.outputFile == "-" {
		_, err := e.Out.Write(data)
		return err
	}
	if len(data) == 0 {
		return nil // a failed export leaves an older file alone
	}
	if err := os.WriteFile(o.outputFile, data, 0o600); err != nil { // evidence contains tokens
		return fmt.Errorf("writing the evidence: %w", err)
	}
	return nil
}

// endWith prints all errors but the last, which it returns under the strongest exit code of all.
func (e *env) endWith(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	code := ExitOK
	for _, err := range errs {
		code = stronger(code, exitCode(err))
	}
	for _, err := range errs[:len(errs)-1] {
		e.printError(err)
	}
	return withExit(code, errs[len(errs)-1])
}
