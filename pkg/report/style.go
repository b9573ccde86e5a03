// SPDX-License-Identifier: Apache-2.0

package report

import (
	"io"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Style colours text for people. The zero value does not change it.
type Style struct {
	good, bad, warn, dim, bold lipgloss.Style
	colour                     bool
}

// NewStyle returns a style with or without colour.
func NewStyle(colour bool) Style {
	renderer := lipgloss.NewRenderer(io.Discard)
	renderer.SetColorProfile(termenv.ANSI) // the sixteen colours that every terminal's theme defines
	foreground := func(c string) lipgloss.Style { return renderer.NewStyle().Foreground(lipgloss.Color(c)) }
	return Style{
		colour: colour,
		good:   foreground("2"), bad: foreground("1").Bold(true), warn: foreground("3"),
		dim: renderer.NewStyle().Faint(true), bold: renderer.NewStyle().Bold(true),
	}
}

// render colours text that is already safe.
func (s Style) render(style lipgloss.Style, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return style.Render(text)
}

func (s Style) status(status verify.Status, text string) string {
	switch status {
	case verify.Pass:
		return s.render(s.good, text)
	case verify.Fail:
		return s.render(s.bad, text)
	case verify.Unknown, verify.Missing, verify.Warn:
		return s.render(s.warn, text)
	case verify.Note:
		return s.render(s.dim, text)
	}
	return s.render(s.bad, text)
}

func (s Style) verdict(verdict verify.Verdict, text string) string {
	switch verdict {
	case verify.Verified:
		return s.render(s.good.Bold(true), text)
	case verify.Unsigned, verify.Indeterminate, verify.NoResults:
		return s.render(s.warn.Bold(true), text)
	case verify.Failed:
		return s.render(s.bad, text)
	}
	return s.render(s.bad, text)
}

// mark is the sign in front of a check.
func mark(status verify.Status) string {
	switch status {
	case verify.Pass:
		return "✓"
	case verify.Fail:
		return "✗"
	case verify.Unknown:
		return "?"
	case verify.Missing, verify.Warn:
		return "!"
	case verify.Note:
		return "-"
	}
	return "✗"
}

func verdictMark(verdict verify.Verdict) string {
	switch verdict {
	case verify.Verified:
		return "✓"
	case verify.Indeterminate:
		return "?"
	case verify.Unsigned, verify.NoResults:
		return "!"
	case verify.Failed:
		return "✗"
	}
	return "✗"
}
