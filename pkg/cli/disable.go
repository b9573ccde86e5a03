// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
)

func newDisableCommand(e *env) *cobra.Command {
	o := &changeOptions{}
	var purge bool
	cmd := &cobra.Command{
		Use:   "disable",
		Short: "Turn signing off and remove the add-on",
		Long: `Turn signing off. Disable removes the webhooks, the add-on, the token grants and the policies, in this
order. Then it restores the values that ConfigMap config-signing had before enable. If neither enable nor
its manifests made the ConfigMap, disable does not change it. TaskRuns keep their evidence and conditions.

The trust history stays, in ConfigMaps tekton-sign-trust-<n> in namespace tekton-sign. It has the public
keys of the cluster, also those that were replaced, and verifies old TaskRuns. The next enable continues
it. To delete it, add --purge. To keep it in a file, run "trust export -o FILE" before.

Exit codes: 0 signing is off, 1 wrong usage or a failure, 2 the cluster is out of reach or a permission
is missing.`,
		Example: fmt.Sprintf(`  # See what disable would remove
  %[1]s disable --dry-run=client

  # Remove everything from the cluster, and keep the keys in a file
  %[1]s trust export -o bundle.json
  %[1]s disable --purge`, e.name),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDisable(cmd.Context(), e, o, purge) },
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&purge, "purge", false, "also delete the trust history")
	return cmd
}

func runDisable(ctx context.Context, e *env, o *changeOptions, purge bool) error {
	clients, err := e.enableClients()
	if err != nil {
		return err
	}
	namespace, err := enable.FindTektonNamespace(ctx, clients)
	if err != nil {
		return clusterError(err)
	}
	plan, err := enable.PlanDisable(ctx, clients, namespace, purge)
	if err != nil {
		return clusterError(err)
	}
	if plan.Empty() {
		fmt.Fprintln(e.Out, "Signing is not enabled in this cluster: nothing to do.")
		warn(e, plan)
		printKept(e, plan)
		return nil
	}
	if err := plan.WriteText(e.Out, display.Safe); err != nil {
		return err
	}
	fmt.Fprintf(e.Out, "\n%s\n", plan.Summary())
	warn(e, plan)
	switch o.dryRun {
	case "client":
		return nil
	case "server":
		return clusterError(plan.DryRun(ctx, clients, e.progress()))
	}
	if err := plan.CheckPermissions(ctx, clients); err != nil {
		return clusterError(err)
	}
	if err := o.confirm(e); err != nil {
		return err
	}
	if err := plan.Remove(ctx, clients, o.timeout, e.progress()); err != nil {
		return clusterError(err)
	}
	fmt.Fprintln(e.ErrOut, "\nSigning is off, and the add-on is gone.")
	printKept(e, plan)
	return nil
}

// printKept names what disable leaves in the cluster, and how to delete it.
func printKept(e *env, plan enable.Plan) {
	if n := plan.Count(enable.Keep); n > 0 {
		fmt.Fprintf(e.ErrOut, "Kept: the trust history, %d ConfigMap(s) in namespace tekton-sign. "+
			"Delete it with: %s disable --purge\n", n, e.name)
	}
}
