// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

func newTrustMergeCommand(e *env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "merge FILE...",
		Short: "Merge trust bundles",
		Long: `Merge the trust bundles of several clusters, or of one cluster at several times. The result has every key
of every file.

Two keys are the same if they have the same cluster, issuer and fingerprint. Their windows are joined:
the earliest beginning and the latest end count. A key that is retired in one bundle counts as in use
only if another bundle saw it in use later. The order of the files does not matter.

One key ID with two different keys in one cluster is an error. The command prints the SHA-256 of the
result on standard error.

Exit codes: 0 written, 1 wrong usage, a file that cannot be read, or bundles that contradict each other.`,
		Example: fmt.Sprintf(`  %[1]s trust merge prod.json staging.json -o all.json

  # Keep one bundle up to date
  %[1]s trust export | %[1]s trust merge bundle.json - -o bundle.json`, e.name),
		RunE: func(cmd *cobra.Command, args []string) error { return mergeTrust(cmd.Context(), e, args, output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "",
		"file to write; it can be one of the merged files (default: standard output)")
	return cmd
}

func mergeTrust(ctx context.Context, e *env, files []string, output string) error {
	if len(files) == 0 {
		return fmt.Errorf("nothing to merge: name trust bundles, as written by trust export")
	}
	if first := slices.Index(files, "-"); first >= 0 && slices.Contains(files[first+1:], "-") {
		return fmt.Errorf("standard input can be read only once: use - once")
	}
	merged := &trust.Bundle{}
	for _, name := range files {
		bundle, _, err := readBundle(ctx, e.In, name)
		if err != nil {
			return err
		}
		if merged, err = trust.Merge(merged, bundle); err != nil {
			return fmt.Errorf("%s contradicts the files before it: %w", name, err)
		}
	}
	return e.writeBundle(ctx, merged, output, files)
}
