// SPDX-License-Identifier: Apache-2.0

// Package testlog reads what `go tool test2json` prints of a test binary.
package testlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Result is how a test ended, in the words of test2json.
type Result string

// The results. A test that did not end, because the binary was stopped, has none.
const (
	Pass Result = "pass"
	Fail Result = "fail"
	Skip Result = "skip"
)

// Leaf is a test that has no others below it, or one that fails although all below it are well.
type Leaf struct {
	Name   string
	Result Result
	Output string // of the test alone
	Around string // of the test, and of those that it belongs to
}

type test struct {
	result Result
	output strings.Builder
}

// Read returns the leaves in the order in which they began.
func Read(from io.Reader) ([]Leaf, error) {
	tests, names, err := read(from)
	if err != nil {
		return nil, err
	}
	var leaves []Leaf
	for _, name := range names {
		group, explained := false, false
		for other, one := range tests {
			if strings.HasPrefix(other, name+"/") {
				group = true
				explained = explained || one.result != Pass && one.result != Skip
			}
		}
		one := tests[name]
		if group && (explained || one.result == Pass || one.result == Skip) {
			continue
		}
		leaves = append(leaves, Leaf{Name: name, Result: one.result, Output: one.output.String(),
			Around: around(tests, name)})
	}
	return leaves, nil
}

func read(from io.Reader) (tests map[string]*test, names []string, err error) {
	tests = map[string]*test{}
	for lines := bufio.NewReader(from); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var event struct{ Action, Test, Output string }
			if err := json.Unmarshal(line, &event); err != nil {
				return nil, nil, fmt.Errorf("reading the line %q: %w", line, err)
			}
			one := tests[event.Test]
			if one == nil && event.Test != "" {
				one = &test{}
				tests[event.Test], names = one, append(names, event.Test)
			}
			switch {
			case event.Test == "":
			case event.Action == "output":
				one.output.WriteString(event.Output)
			case event.Action == string(Pass), event.Action == string(Fail), event.Action == string(Skip):
				one.result = Result(event.Action)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return tests, names, nil
		case err != nil:
			return nil, nil, err
		}
	}
}

// around returns the output of a test, behind that of those it belongs to.
func around(tests map[string]*test, name string) string {
	var all strings.Builder
	for i, r := range name + "/" {
		if one := tests[name[:i]]; r == '/' && one != nil {
			all.WriteString(one.output.String())
		}
	}
	return all.String()
}
