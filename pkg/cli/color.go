// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
)

// colorMode is the value of --color.
type colorMode string

// String, Set and Type make it a flag's value.
func (m *colorMode) String() string { return string(*m) }

// Set accepts the three modes.
func (m *colorMode) Set(value string) error {
	switch value {
	case "auto", "always", "never":
		*m = colorMode(value)
		return nil
	}
	return fmt.Errorf("expected auto, always or never, got %q", value)
}

// Type is shown in help texts.
func (m *colorMode) Type() string { return "mode" }

// style returns whether to colour what goes to w. In mode auto, terminals get colour unless NO_COLOR (no-color.org) is
// set, and everything gets it if CLICOLOR_FORCE is set.
func (m *colorMode) style(w io.Writer, getenv func(string) string) report.Style {
	switch *m {
	case "always":
		return report.NewStyle(true)
	case "never":
		return report.NewStyle(false)
	}
	if getenv("NO_COLOR") != "" || getenv("TERM") == "dumb" {
		return report.NewStyle(false)
	}
	if force := getenv("CLICOLOR_FORCE"); force != "" && force != "0" {
		return report.NewStyle(true)
	}
	return report.NewStyle(isTerminal(w))
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) // #nosec G115 -- file descriptors are small
}
