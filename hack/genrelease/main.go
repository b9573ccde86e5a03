// SPDX-License-Identifier: Apache-2.0

// Command genrelease writes what a release archive holds beside the binary: man pages and completion scripts.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: genrelease FOLDER")
		os.Exit(1)
	}
	if err := generate(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "genrelease:", err)
		os.Exit(1)
	}
}

// generate replaces the folder.
func generate(folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	man, completions := filepath.Join(folder, "man"), filepath.Join(folder, "completions")
	if err := errors.Join(os.MkdirAll(man, 0o750), os.MkdirAll(completions, 0o750)); err != nil {
		return err
	}
	root := cli.NewCommand()
	header := &doc.GenManHeader{
		Section: "1", Source: "tekton-sign", Manual: "kubectl tekton-sign",
		Date: &time.Time{}, // an archive is the same whenever it is built
	}
	if err := doc.GenManTree(root, header, man); err != nil {
		return fmt.Errorf("writing the man pages: %w", err)
	}
	return writeCompletions(root, completions)
}

func writeCompletions(root *cobra.Command, folder string) error {
	name := root.Name()
	return errors.Join(
		root.GenBashCompletionFileV2(filepath.Join(folder, name+".bash"), true),
		root.GenZshCompletionFile(filepath.Join(folder, "_"+name)),
		root.GenFishCompletionFile(filepath.Join(folder, name+".fish"), true),
		root.GenPowerShellCompletionFileWithDesc(filepath.Join(folder, name+".ps1")),
		os.WriteFile(filepath.Join(folder, cli.KubectlCompletionFile), []byte(cli.KubectlCompletion), 0o755), // #nosec G306 -- a program
	)
}
