// SPDX-License-Identifier: Apache-2.0

// Command gendocs writes the generated files in docs: the command reference, the checks of preflight, the schemas of
// the reports, and the picture of the README.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra/doc"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendocs DOCS-FOLDER")
		os.Exit(1)
	}
	if err := generate(os.Args[1], "."); err != nil {
		fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

// generate writes into the folder docs, from the module in the folder root.
func generate(docs, root string) error {
	reference := filepath.Join(docs, "cli")
	if err := os.RemoveAll(reference); err != nil {
		return err
	}
	for _, folder := range []string{reference, filepath.Join(docs, "images"), filepath.Join(docs, "schema")} {
		if err := os.MkdirAll(folder, 0o750); err != nil {
			return err
		}
	}
	if err := doc.GenMarkdownTree(cli.NewCommand(), reference); err != nil {
		return fmt.Errorf("writing the command reference: %w", err)
	}
	if err := writeSchemas(filepath.Join(docs, "schema")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(docs, preflightFile), preflightDocs(), 0o600); err != nil {
		return err
	}
	picture, err := verifyPicture(filepath.Join(root, "docs", "examples"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "images", "verify.svg"), picture, 0o600)
}

// verifyPicture runs verify on the recorded example, then on a copy with one changed byte, and draws what it prints.
func verifyPicture(examples string) ([]byte, error) {
	bundle := filepath.Join(examples, "trust-bundle.json")
	recorded, err := os.ReadFile(filepath.Join(examples, "build.yaml"))
	if err != nil {
		return nil, err
	}
	changed := bytes.Replace(recorded, []byte("value: sha256:2c26"), []byte("value: sha256:2c27"), 1)
	if bytes.Equal(recorded, changed) {
		return nil, fmt.Errorf("the recorded TaskRun has no result to tamper with: run make examples")
	}
	var lines []string
	for _, act := range []struct {
		prompt string
		input  []byte
		code   int
	}{
		{
			"$ kubectl tekton-sign verify -v -f build.yaml --trust-bundle trust-bundle.json", recorded,
			cli.ExitOK,
		},
		{
			"$ kubectl tekton-sign verify -f tampered.yaml --trust-bundle trust-bundle.json", changed,
			cli.ExitFailed,
		},
	} {
		args := []string{"verify", "--color=always", "-f", "-", "--trust-bundle", bundle}
		if act.code == cli.ExitOK {
			args = append(args, "-v")
		}
		var out, errOut bytes.Buffer
		streams := genericiooptions.IOStreams{In: bytes.NewReader(act.input), Out: &out, ErrOut: &errOut}
		if code := cli.Run(context.Background(), "kubectl-tekton_sign", args, streams); code != act.code {
			return nil, fmt.Errorf("verify ended with exit code %d, want %d: %s", code, act.code, errOut.String())
		}
		text := strings.ReplaceAll(strings.TrimRight(out.String(), "\n"), bundle, "trust-bundle.json")
		lines = append(lines, act.prompt)
		lines = append(lines, strings.Split(text, "\n")...)
		lines = append(lines, "")
	}
	return drawTerminal(lines[:len(lines)-1])
}
