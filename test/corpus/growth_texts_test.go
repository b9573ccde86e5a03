// SPDX-License-Identifier: Apache-2.0

//go:build !race && linux

package corpus_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// grownTexts are files without a TaskRun.
var grownTexts = []struct {
	name string
	most int
	text func(n int) string
}{
	{"JSON, escaped keys", 80_000, func(n int) string {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf(`"\u0061%d":"x"`, i)
		}
		return `{"kind":"TaskRun","apiVersion":"tekton.dev/v1","metadata":{"labels":{` + strings.Join(keys, ",") + `}}}`
	}},
	{"JSON, a number", 7 << 20, func(n int) string {
		return `{"kind":"TaskRun","apiVersion":"tekton.dev/v1","metadata":{"generation":` + strings.Repeat("1", n) + `}}`
	}},
	{"JSON, opened and not closed", 1 << 20, func(n int) string { return strings.Repeat(`{"a":`, n) }},
	{"JSON, broken lines", 200_000, func(n int) string { return strings.Repeat("{\"a\":\n", n) }},
	{"JSON, many objects", 64_000, func(n int) string { return strings.Repeat("{}\n", n) }},
	{
		"JSON, items many times", 200_000, func(n int) string {
			return `{"items":[]` + strings.Repeat(`,"items":[]`, n) + "}"
		},
	},
	{"records of as many types", 64_000, func(n int) string {
		var all strings.Builder
		for i := range n {
			fmt.Fprintf(&all, `{"name":"a","data":{"type":"t%d","value":""}}`, i)
		}
		return all.String()
	}},
	{"YAML, keys that look odd", 49_000, func(n int) string { return yamlLines(n, "%da"+strings.Repeat("+", 100)+":\n") }},
	{"YAML, keys", 49_000, func(n int) string { return yamlLines(n, "k%d: x\n") }},
	{"YAML, keys after carriage returns", 700_000, func(n int) string { return yamlLines(n, "k%d:\r") }},
	{"YAML, keys and tabs", 700_000, func(n int) string { return "{" + yamlLines(n, "? k%d:\t\u2028") + "}" }},
	{"YAML, directives", 60_000, func(n int) string { return yamlLines(n, "%TAG !a%d! tag:x\n") + "---\na: b\n" }},
	{"YAML, directives after carriage returns", 60_000, func(n int) string {
		return "# x\r" + yamlLines(n, "%TAG !a%d! tag:x\r") + "---\ra: b\r\nb: c\n"
	}},
	{"YAML, directives after line separators", 60_000, func(n int) string {
		return "# x\u2028" + yamlLines(n, "%TAG !a%d! tag:x\u2028") + "---\u2028a: b\nb: c\n"
	}},
	{"YAML, comments", 140_000, func(n int) string { return "a: b\n" + yamlLines(n, "# %d\n") }},
	{"YAML, comments between", 48_000, func(n int) string { return yamlLines(n, "k%d: x\n# x\n") }},
	{
		"YAML, comments after carriage returns", 1_500_000,
		func(n int) string { return "a: b\r" + strings.Repeat("# \r", n) + "\nb: c\n" },
	},
	{"YAML, lines of a plain text", 140_000, func(n int) string { return "a: b\n" + strings.Repeat("  b\n", n) }},
	{"YAML, lines of a quoted text", 140_000, func(n int) string { return "a: \"" + strings.Repeat("b\n", n) + "\"\n" }},
	{"YAML, lines of a block", 140_000, func(n int) string { return "a: |\n" + strings.Repeat("  b\n", n) }},
	{"YAML, anchors", 64_000, func(n int) string { return "a:\n" + yamlLines(n, "- &a%d x\n") }},
	{"YAML, aliases", 64_000, func(n int) string {
		return "a: &a [" + strings.Repeat("x,", n) + "]\nb:\n" + strings.Repeat("- *a\n", n/2)
	}},
	{"YAML, tags", 64_000, func(n int) string { return "a:\n" + strings.Repeat("- !!str x\n", n) }},
	{"YAML, nested", 4000, func(n int) string { return "a: " + strings.Repeat("[", n) + strings.Repeat("]", n) }},
	{"YAML, indented", 3600 * 3600, func(n int) string { // the length of the text is quadratic in its lines
		var all strings.Builder
		for i := range int(math.Sqrt(float64(n))) {
			all.WriteString(strings.Repeat(" ", i) + "k:\n")
		}
		return all.String()
	}},
	{"YAML, a long key", 7 << 20, func(n int) string { return text(n) + ": b\n" }},
	{"YAML, a long quoted key", 7 << 20, func(n int) string { return `"` + text(n) + "\": b\n" }},
	{"YAML, a number", 7 << 20, func(n int) string { return "a: " + strings.Repeat("1", n) + "\n" }},
	{"YAML, a flow of keys", 140_000, func(n int) string { return "a: {" + yamlLines(n, "k%d,") + "}\n" }},
	{"YAML, documents", 24_000, func(n int) string { return strings.Repeat("a: b\n---\n", n) }},
	{
		"YAML, items", 24_000, func(n int) string {
			return "kind: List\napiVersion: v1\nitems:\n" + strings.Repeat("- a: b\n", n)
		},
	},
	{
		"YAML, a line of spaces after items", 56 << 20,
		func(n int) string { return "items:" + strings.Repeat(" ", n) + "x\n" },
	},
	{
		"YAML, a line of spaces among items", 56 << 20,
		func(n int) string { return "items:\n- a: b\n" + strings.Repeat(" ", n) + "x\n" },
	},
}

// yamlLines returns n lines, in which %d is the line's number.
func yamlLines(n int, line string) string {
	var all strings.Builder
	for i := range n {
		all.WriteString(strings.ReplaceAll(line, "%d", strconv.Itoa(i)))
	}
	return all.String()
}
