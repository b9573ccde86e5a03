// SPDX-License-Identifier: Apache-2.0

package shape

import (
	"go/ast"
	"go/scanner"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// maxFileLines is how many lines a file may have.
const maxFileLines = 400

// A reader can keep a short file in mind, and its name describes it.
func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if n := strings.Count(s.text, "\n"); n > maxFileLines && !s.generated() {
			t.Errorf("%s has %d lines, expected at most %d: split it by subject", s.name, n, maxFileLines)
		}
	}
}

// maxMedianLines is how many lines half of the functions may exceed, without blank lines and comments.
const maxMedianLines = 12

// Most functions are small. Code for tests does not count.
func TestFunctionsAreSmall(t *testing.T) {
	var lengths []int
	for _, s := range sources(t) {
		if s.generated() || s.isTest() || strings.HasPrefix(s.name, "test/") {
			continue
		}
		lengths = append(lengths, functionLines(s)...)
	}
	slices.Sort(lengths)
	if median := lengths[len(lengths)/2]; median > maxMedianLines {
		t.Errorf("the median of %d functions is %d lines, expected at most %d: split the long ones",
			len(lengths), median, maxMedianLines)
	}
}

// functionLines returns the number of lines of code of each function in a file, from func to the closing brace.
func functionLines(s source) []int {
	code := codeLines(s.text)
	var lengths []int
	for _, d := range s.syntax.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		n := 0
		for line := s.line(f.Pos()); line <= s.line(f.Body.Rbrace); line++ {
			if code[line] {
				n++
			}
		}
		lengths = append(lengths, n)
	}
	return lengths
}

// codeLines returns the lines of a text that have code, counted from 1.
func codeLines(text string) map[int]bool {
	file := token.NewFileSet().AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, []byte(text), nil, 0) // without comments
	lines := map[int]bool{}
	for {
		pos, kind, literal := s.Scan()
		if kind == token.EOF {
			return lines
		}
		for i := range strings.Count(literal, "\n") + 1 {
			if literal != "\n" {
				lines[file.Line(pos)+i] = true
			}
		}
	}
}
