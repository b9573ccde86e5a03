// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

func newTrustShowCommand(e *env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "List the keys of a trust bundle, or of the cluster",
		Long: `List the keys of a trust bundle file: cluster, issuer, key ID, algorithm, when each was first and last seen
in use, and its fingerprint (SHA-256 of the public key). The last line is the SHA-256 of the file. Use
- for standard input.

Without a file, list the keys of the kubeconfig's cluster: those in use, and those of its trust history.

Exit codes: 0 shown, 1 wrong usage or a file that cannot be read, 2 the cluster is out of reach or a
permission is missing.`,
		Example: fmt.Sprintf(`  %[1]s trust show bundle.json

  # The keys of the cluster
  %[1]s trust show`, e.name),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return showTrust(cmd.Context(), e, args, output) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "output format: table, json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(trustFormats(),
		cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// trustFormats are the values of -o.
func trustFormats() []string { return []string{"table", "json", "yaml"} }

func showTrust(ctx context.Context, e *env, args []string, output string) error {
	if !slices.Contains(trustFormats(), output) {
		return fmt.Errorf("--output: expected one of %s, got %q", strings.Join(trustFormats(), ", "), output)
	}
	var r *report.TrustReport
	var err error
	if len(args) > 0 {
		r, err = reportFile(ctx, e, args[0])
	} else {
		r, err = reportCluster(ctx, e)
	}
	if err != nil {
		return err
	}
	switch output {
	case "json":
		return r.JSON(e.Out)
	case "yaml":
		return r.YAML(e.Out)
	}
	return r.Table(e.Out)
}

func reportFile(ctx context.Context, e *env, name string) (*report.TrustReport, error) {
	bundle, data, err := readBundle(ctx, e.In, name)
	if err != nil {
		return nil, err
	}
	r, err := report.NewTrustReport(report.SourceFile, bundle)
	if err != nil {
		return nil, err
	}
	r.Path, r.SHA256 = name, trust.SHA256(data)
	return r, nil
}

func reportCluster(ctx context.Context, e *env) (*report.TrustReport, error) {
	cluster, past, err := e.fetchKnownKeys(ctx, "")
	if err != nil {
		return nil, err
	}
	r, err := report.NewTrustReport(report.SourceCluster, &trust.Bundle{Clusters: []trust.Cluster{*cluster}})
	if err != nil {
		return nil, err
	}
	r.Notes = append(r.Notes, pastNotes(e, past)...)
	return r, nil
}
