// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// addCompletion adds kubectl to cobra's command for completion scripts.
func addCompletion(e *env, root *cobra.Command) {
	root.InitDefaultCompletionCmd("completion")
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.AddCommand(newCompletionForKubectl(e))
		}
	}
}

// KubectlCompletion is the program that kubectl asks for the completions of this plugin (kubernetes pull request
// 105867). It finds the program in the PATH by its name, KubectlCompletionFile.
const (
	KubectlCompletion     = "#!/bin/sh\nexec kubectl tekton-sign " + cobra.ShellCompRequestCmd + " \"$@\"\n"
	KubectlCompletionFile = "kubectl_complete-tekton_sign"
)

func newCompletionForKubectl(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl",
		Short: "Print the program with which kubectl completes the plugin",
		Long: `Print the program with which kubectl completes the plugin. Save it as ` + KubectlCompletionFile + `
anywhere in your PATH. kubectl's own completion must be set up in your shell (kubectl completion --help).`,
		Example: fmt.Sprintf(`  %[1]s completion kubectl > ~/.local/bin/%[2]s
  chmod +x ~/.local/bin/%[2]s`, e.name, KubectlCompletionFile),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(e.Out, KubectlCompletion)
			return err
		},
	}
}

// executable returns the file name under which a shell finds the program, for its completion script.
func executable(program string) string {
	base := strings.TrimSuffix(filepath.Base(program), ".exe")
	if strings.HasPrefix(base, "kubectl-") || strings.HasPrefix(base, "tkn-") {
		return base
	}
	return "kubectl-tekton_sign"
}
