// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
)

// yamlCutter splits a YAML stream at the lines between its documents, as kubectl does. If a document has a
// block sequence called items, as in a List that kubectl writes, it splits off the items as well. Each item
// must then be valid YAML by itself, so that splitting at the wrong line can only lead to an error.
type yamlCutter struct {
	*cutter
	r *bufio.Reader

	rest   text // the document without the items of a list
	item   text // the current item
	indent int  // of the items
	state  listState
	items  int
}

// listState is where the lines are in relation to a list.
type listState int

const (
	noList  listState = iota
	toList            // after the line items:
	inList            // within an item
	wasList           // after the items
)

// text is a part of the input, up to the limit.
type text struct {
	data  []byte
	large bool
}

func (t *text) add(line []byte) {
	if t.large = t.large || len(t.data)+len(line) > maxObjectBytes; t.large {
		t.data = nil
		return
	}
	t.data = append(t.data, line...)
}

func (t *text) object() Object {
	if t.large {
		return Object{err: errLarge}
	}
	return Object{data: t.data, format: formatYAML}
}

var (
	separator = regexp.MustCompile(`^---\s*$`)
	itemsLine = regexp.MustCompile(`^items:\s*(#.*)?\s*$`)
	itemStart = regexp.MustCompile(`^( *)-(\s|$)`)
	noContent = regexp.MustCompile(`^\s*(#[^\r\x{85}\x{2028}\x{2029}]*)?\s*$`) // YAML also treats these as line breaks
)

func (y *yamlCutter) run() {
	for !y.stopped {
		line, err := y.line()
		if len(line) > 0 {
			y.add(line)
		}
		if errors.Is(err, io.EOF) {
			y.end()
			return
		}
		if err != nil {
			y.fail(err)
			return
		}
	}
}

// line returns the next line with its line break.
func (y *yamlCutter) line() ([]byte, error) {
	var line []byte
	for {
		piece, err := y.r.ReadSlice('\n')
		line = append(line, piece...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
		if len(line) > maxSkipped {
			return nil, errGivenUp
		}
	}
}

func (y *yamlCutter) add(line []byte) {
	if len(line) > maxObjectBytes {
		y.addLarge(line)
		return
	}
	if separator.Match(line) {
		y.end()
		return
	}
	switch y.state {
	case noList:
		if itemsLine.Match(line) {
			y.state = toList
			return
		}
		y.rest.add(line)
	case toList, inList:
		y.inItems(line)
	case wasList:
		y.rest.add(line)
	}
}

// addLarge handles a line that makes its object too large. It does not parse the line, because that takes
// time.
func (y *yamlCutter) addLarge(line []byte) {
	if y.state == inList {
		y.item.add(line)
		return
	}
	if y.state == toList {
		y.leaveItems()
	}
	y.rest.add(line)
}

// inItems handles a line within a list.
func (y *yamlCutter) inItems(line []byte) {
	start := itemStart.FindSubmatch(line)
	begins := start != nil && (y.state == toList || len(start[1]) == y.indent)
	switch {
	case begins:
		y.endItem()
		if y.state == toList {
			y.next()
			y.state, y.indent = inList, len(start[1])
		}
		line = bytes.Clone(line)
		line[len(start[1])] = ' ' // what follows the dash is the item
		y.item.add(line)
	case noContent.Match(line):
		y.item.add(line)
	case y.state == inList && indentOf(line) > y.indent:
		y.item.add(line)
	default:
		y.leaveItems()
		y.rest.add(line)
	}
}

// leaveItems leaves a placeholder for the items in the rest of the document.
func (y *yamlCutter) leaveItems() {
	y.endItem()
	y.rest.add([]byte("items: []\n"))
	if y.state == toList { // no block sequence follows
		y.state = noList
		return
	}
	y.state = wasList
}

func (y *yamlCutter) endItem() {
	if y.state == inList {
		y.items++
		y.cutter.item(y.items, y.item.object())
	}
	y.item = text{}
}

// end ends a document.
func (y *yamlCutter) end() {
	if y.state == toList || y.state == inList {
		y.leaveItems()
	}
	switch rest := y.rest; {
	case y.state == wasList && rest.large:
		y.remark(Object{err: fmt.Errorf("the list around the items: %w", errLarge)})
	case y.state == wasList:
		y.endOfList(rest.data)
	case rest.large || !blank(rest.data):
		y.document(rest.object())
	}
	y.rest, y.item, y.state, y.items, y.indent = text{}, text{}, noList, 0, 0
}

func (y *yamlCutter) endOfList(rest []byte) {
	data, err := yamlToJSON(rest)
	if err != nil {
		y.remark(Object{err: fmt.Errorf("the list around the items: not plain YAML: %w", err)})
		return
	}
	y.endList(data, "items", y.items)
}

func indentOf(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }

// blank reports whether a document holds only comments, and perhaps the version of YAML.
func blank(data []byte) bool {
	for line := range bytes.Lines(data) {
		if !noContent.Match(line) && !version.Match(line) {
			return false
		}
	}
	return true
}

// maxYAMLNodes is how many values and keys a YAML text may have. The parser takes a few hundred bytes for each.
const maxYAMLNodes = 3 * strictjson.MaxValues / 2

// yamlToJSON returns the JSON form of one YAML document.
func yamlToJSON(data []byte) ([]byte, error) {
	if n := nodesAtMost(data); n > maxYAMLNodes {
		return nil, fmt.Errorf("more than %d values", maxYAMLNodes)
	}
	if err := checkDirectives(data); err != nil {
		return nil, err
	}
	if err := checkYAML(data); err != nil {
		return nil, err
	}
	// kubectl reads YAML with this library, so that an object means here what it means there.
	return yaml.YAMLToJSONStrict(data)
}

// nodesAtMost estimates the number of the document's nodes. Each node needs one of these characters, so the
// real number is larger by a small factor at most.
func nodesAtMost(data []byte) int {
	n := 1 - bytes.Count(data, []byte("\r\n"))
	for _, sign := range []string{",", ": ", ":\t", "- ", "-\t", "? ", "?\t", "[", "{", "\n", "\r", "\u0085", "\u2028",
		"\u2029"} {
		n += bytes.Count(data, []byte(sign))
	}
	return n
}

// checkYAML refuses what plain data does not need and what two readers may understand differently: aliases,
// anchors, merge keys, tags, and a second document after an end mark.
func checkYAML(data []byte) error {
	decoder := yamlv3.NewDecoder(bytes.NewReader(data))
	var node yamlv3.Node
	if err := decoder.Decode(&node); err != nil {
		return err
	}
	if err := decoder.Decode(new(yamlv3.Node)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("more than one document without --- between them")
	}
	return checkNode(&node, 0)
}

func checkNode(n *yamlv3.Node, depth int) error {
	switch {
	case depth > strictjson.MaxDepth+1: // the document itself is a level
		return fmt.Errorf("line %d: nested deeper than %d levels", n.Line, strictjson.MaxDepth)
	case n.Kind == yamlv3.AliasNode:
		return fmt.Errorf("line %d: alias *%s: write the value itself", n.Line, n.Value)
	case n.Anchor != "":
		return fmt.Errorf("line %d: anchor &%s: write the value itself", n.Line, n.Anchor)
	case n.Style&yamlv3.TaggedStyle != 0:
		return fmt.Errorf("line %d: tag %s: write a plain value", n.Line, n.Tag)
	}
	for i, child := range n.Content {
		if n.Kind == yamlv3.MappingNode && i%2 == 0 {
			if child.Kind != yamlv3.ScalarNode || child.Tag == "!!merge" {
				return fmt.Errorf("line %d: expected a plain key", child.Line)
			}
			if !isTextKey(child) {
				return fmt.Errorf("line %d: the key %s is not text for every reader: write it in quotes", child.Line, child.Value)
			}
		}
		if err := checkNode(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}
