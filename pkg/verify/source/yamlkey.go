// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

var (
	// version matches the only directive that is accepted: an honest writer may begin a file with it.
	version = regexp.MustCompile(`^%YAML 1\.[0-9]\s*$`)
	// wordKey matches what every version of YAML reads as text, unless it is one of notText.
	wordKey = regexp.MustCompile(`^[A-Za-z_/][A-Za-z0-9_./-]*$`)
	notText = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null)$`)
)

// checkDirectives refuses all directives except a first %YAML. No honest TaskRun has others, and the time
// that the parser takes for each %TAG grows with the number of those before it.
func checkDirectives(data []byte) error {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		for part := range bytes.FieldsFuncSeq(line, isBreak) {
			if bytes.HasPrefix(part, []byte("%")) && !version.Match(part) {
				return fmt.Errorf("line %d: a directive: leave it out", n)
			}
		}
	}
	return nil
}

// isBreak reports whether c ends a line in YAML.
func isBreak(c rune) bool { return strings.ContainsRune("\n\r\u0085\u2028\u2029", c) }

// isTextKey reports whether all readers read a key as text. In YAML 1.1, on is a boolean, and 1 and 1:20 are
// numbers; in YAML 1.2, on and 1:20 are text. In JSON all of them would be text, and two different keys could
// become one.
func isTextKey(key *yamlv3.Node) bool {
	switch {
	case key.Style&(yamlv3.DoubleQuotedStyle|yamlv3.SingleQuotedStyle) != 0:
		return true
	case notText.MatchString(key.Value):
		return false
	case wordKey.MatchString(key.Value):
		return true
	case key.Tag != "!!str" || strings.ContainsAny(key.Value, "\r\n"):
		return false
	}
	var text any
	if err := yaml.Unmarshal([]byte(key.Value), &text); err != nil {
		return true // not a plain scalar, hence text
	}
	as, err := json.Marshal(text)
	want, _ := json.Marshal(key.Value)
	return err == nil && (bytes.Equal(as, want) || as[0] == '{' || as[0] == '[')
}
