// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

func newTrustCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Keep the keys that TaskRuns are verified with",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newTrustExportCommand(e))
	return cmd
}

func newTrustExportCommand(e *env) *cobra.Command {
	var output, name string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the cluster's public keys into a trust bundle",
		Long: `Write the public keys with which this cluster signs service account tokens into a trust bundle (JSON).

With it TaskRuns are verified without a network, and after the cluster is gone. Keep the file where nobody can change it:
whoever can is trusted.

Exit codes: 0 written, 1 wrong usage or a failure to write, 2 the cluster is out of reach or a permission is missing.`,
		Example: fmt.Sprintf("  %s trust export -o bundle.json", e.name),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return exportTrust(cmd.Context(), e, output, name)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write (default: standard output)")
	cmd.Flags().StringVar(&name, "cluster-name", "", "how the bundle calls the cluster (default: as the kubeconfig does)")
	return cmd
}

func exportTrust(ctx context.Context, e *env, output, name string) error {
	cluster, err := e.fetchTrust(ctx, name)
	if err != nil {
		return err
	}
	data, err := (&trust.Bundle{Clusters: []trust.Cluster{*cluster}}).Marshal()
	if err != nil {
		return err
	}
	if output == "" || output == "-" {
		_, err := e.Out.Write(data)
		return err
	}
	if err := os.WriteFile(output, data, 0o644); err != nil { // #nosec G306 -- public keys, for everybody to read
		return fmt.Errorf("writing the trust bundle: %w", err)
	}
	issuer := cluster.ServiceAccountIssuers[0]
	keys := "1 key"
	if n := len(issuer.Keys); n != 1 {
		keys = fmt.Sprintf("%d keys", n)
	}
	fmt.Fprintf(e.ErrOut, "wrote %s: cluster %s, issuer %s, %s, SHA-256 %s\n",
		report.Safe(output), report.Safe(cluster.String()), report.Safe(issuer.Issuer), keys, trust.SHA256(data))
	return nil
}
