// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// NewCommand returns the command tree for generators of documentation. It discards output, and writes $HOME in place of
// the user's own paths, so that the documentation is the same on every machine.
func NewCommand() *cobra.Command {
	root := newRoot("kubectl-tekton_sign", genericiooptions.NewTestIOStreamsDiscard())
	root.DisableAutoGenTag = true
	if flag := root.PersistentFlags().Lookup("cache-dir"); flag != nil {
		flag.DefValue = "$HOME/.kube/cache"
	}
	return root
}
