// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"html/template"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Geometry of the picture in pixels.
const (
	charWidth  = 8.43
	lineHeight = 20
	margin     = 16
	maxColumns = 112
)

// escape matches the colour sequences that the report uses (ECMA-48, select graphic rendition).
var escape = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// classes are the CSS classes of colour sequences.
var classes = map[string]string{
	"32": "ok", "1;32": "ok", "31": "bad", "1;31": "bad", "33": "warn", "1;33": "warn", "2": "dim", "1": "bold",
}

type span struct{ Class, Text string }

type line struct {
	Y     int
	Spans []span
}

var picture = template.Must(template.New("terminal").Parse(
	`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Height}}" ` +
		`viewBox="0 0 {{.Width}} {{.Height}}" role="img">
<style>
text { font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d6dbe1; white-space: pre; }
.ok { fill: #6cc66c; } .bad { fill: #ff7b72; } .warn { fill: #e3b341; } .dim { fill: #8b949e; } ` +
		`.bold { font-weight: bold; }
</style>
<rect width="100%" height="100%" rx="8" fill="#161b22"/>
{{range .Lines}}<text x="16" y="{{.Y}}" xml:space="preserve">` +
		`{{range .Spans}}<tspan class="{{.Class}}">{{.Text}}</tspan>{{end}}</text>
{{end}}</svg>
`))

// drawTerminal draws lines with colour sequences as an SVG picture.
func drawTerminal(text []string) ([]byte, error) {
	data := struct {
		Width, Height int
		Lines         []line
	}{}
	columns := 0
	for i, t := range text {
		spans, width := spansOf(t)
		columns = max(columns, width)
		data.Lines = append(data.Lines, line{Y: margin + lineHeight*(i+1) - 5, Spans: spans})
	}
	data.Width = int(charWidth*float64(columns)) + 2*margin
	data.Height = lineHeight*len(text) + 2*margin
	var b bytes.Buffer
	if err := picture.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("drawing the picture: %w", err)
	}
	return b.Bytes(), nil
}

// spansOf splits a line at its colour sequences and cuts it at the width of the picture.
func spansOf(t string) (spans []span, width int) {
	class := ""
	add := func(s string) {
		if room := maxColumns - width; utf8.RuneCountInString(s) > room {
			s = string([]rune(s)[:max(room-1, 0)]) + "…"
		}
		if s != "" {
			spans = append(spans, span{Class: class, Text: s})
			width += utf8.RuneCountInString(s)
		}
	}
	if strings.HasPrefix(t, "$ ") {
		class = "bold"
	}
	for {
		at := escape.FindStringSubmatchIndex(t)
		if at == nil {
			add(t)
			return spans, width
		}
		add(t[:at[0]])
		class = classes[t[at[2]:at[3]]]
		t = t[at[1]:]
	}
}
