// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

func newTrustCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Keep the keys that verify TaskRuns",
		Args:  knownCommand,
		RunE:  showHelp,
	}
	cmd.AddCommand(newTrustExportCommand(e), newTrustMergeCommand(e), newTrustShowCommand(e))
	return cmd
}

func newTrustExportCommand(e *env) *cobra.Command {
	var output, name string
	var more authorities
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the cluster's public keys into a trust bundle",
		Long: `Write the public keys with which this cluster signs service account tokens into a trust bundle (JSON).

If the add-on keeps a trust history, the bundle also has the keys that the cluster used before, each
with the time in which it was in use. To read the history, you need the permission to list ConfigMaps
in namespace tekton-sign.

With the bundle you can verify TaskRuns without a network, and after the cluster is gone. Keep the
file safe: a person who can change it can make any TaskRun verify. The command prints the file's
SHA-256 on standard error. Note it in another place.

The command does not overwrite a file with keys that the cluster no longer has. Use "trust merge".

Exit codes: 0 written, 1 wrong usage or a failure to write, 2 the cluster is out of reach or a
permission is missing.`,
		Example: fmt.Sprintf(`  %[1]s trust export -o bundle.json

  # Add today's keys to an older bundle
  %[1]s trust export | %[1]s trust merge bundle.json - -o bundle.json`, e.name),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return exportTrust(cmd.Context(), e, output, name, more)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write (default: standard output)")
	cmd.Flags().StringVar(&name, "cluster-name", "", "the cluster's name in the bundle (default: "+
		"its name in the kubeconfig)")
	_ = cmd.RegisterFlagCompletionFunc("cluster-name", cobra.NoFileCompletions)
	more.addFlags(cmd)
	return cmd
}

func exportTrust(ctx context.Context, e *env, output, name string, more authorities) error {
	cluster, past, err := e.fetchKnownKeys(ctx, name)
	if err != nil {
		return err
	}
	if cluster, err = more.addTo(ctx, e, cluster); err != nil {
		return err
	}
	bundle := &trust.Bundle{Clusters: []trust.Cluster{*cluster}}
	if err := e.writeBundle(ctx, bundle, output, nil); err != nil {
		return err
	}
	for _, note := range pastNotes(e, past) {
		fmt.Fprintln(e.ErrOut, "note: "+display.Safe(note))
	}
	return nil
}

// fetchKnownKeys reads the keys of the kubeconfig's cluster, those in use and those of its history. The default name
// of the cluster is the one in the kubeconfig.
func (e *env) fetchKnownKeys(ctx context.Context, name string) (*trust.Cluster, trust.Past, error) {
	kube, err := e.kube()
	if err != nil {
		return nil, trust.Past{}, err
	}
	if name == "" {
		name = e.clusterName()
	}
	cluster, past, err := trust.FetchWithHistory(ctx, kube.CoreV1().RESTClient(), name, time.Now())
	return cluster, past, explainCluster(err)
}

// pastNotes explains why keys lack their windows, and what is wrong with the history.
func pastNotes(e *env, past trust.Past) []string {
	var notes []string
	for _, problem := range past.Problems {
		notes = append(notes, "trust history: "+problem.Error())
	}
	switch {
	case past.Found:
	case len(past.Problems) > 0:
		notes = append(notes, "the trust history was not used: "+
			"the bundle lacks replaced keys, and does not know when each key was in use")
	default:
		notes = append(notes, fmt.Sprintf("the cluster has no trust history: "+
			"the bundle lacks replaced keys, and does not know when each key was in use: "+
			"the add-on keeps a history, turn it on with %s enable", e.name))
	}
	return notes
}

// summary describes a bundle in a few words.
func summary(b *trust.Bundle) string {
	clusters := fmt.Sprintf("%d clusters", len(b.Clusters))
	if len(b.Clusters) == 1 {
		clusters = "cluster " + display.Safe(b.Clusters[0].String())
	}
	var issuers []string
	for _, c := range b.Clusters {
		for _, issuer := range c.ServiceAccountIssuers {
			issuers = append(issuers, display.Short(issuer.Issuer, display.DefaultWidth))
		}
	}
	noun := "issuer"
	if len(issuers) != 1 {
		noun = "issuers"
	}
	if len(issuers) > 3 {
		issuers = append(issuers[:3:3], "…")
	}
	return fmt.Sprintf("%s, %s %s, %s", clusters, noun, strings.Join(issuers, ", "), countText(b))
}

// countText counts the keys of a bundle, and the retired ones among them.
func countText(b *trust.Bundle) string {
	all, retired := b.CountKeys()
	text := fmt.Sprintf("%d keys", all)
	if all == 1 {
		text = "1 key"
	}
	if retired > 0 {
		text += fmt.Sprintf(" (%d retired)", retired)
	}
	return text
}
