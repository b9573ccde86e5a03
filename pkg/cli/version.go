// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

func newVersionCommand(e *env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version of the plugin",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return printVersion(e, output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "output format: json or yaml (default: one line)")
	return cmd
}

func printVersion(e *env, output string) error {
	info := version.Get()
	var data []byte
	var err error
	switch output {
	case "":
		text := info.Version
		if info.Revision != "" {
			text += ", revision " + info.Revision
		}
		data = []byte(text + ", " + info.GoVersion)
	case "json":
		data, err = json.MarshalIndent(info, "", "  ")
	case "yaml":
		data, err = yaml.Marshal(info)
		data = data[:max(0, len(data)-1)]
	default:
		return fmt.Errorf("--output: expected json or yaml, got %q", output)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.Out, "%s\n", data)
	return err
}
