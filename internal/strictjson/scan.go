// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// scanner walks over JSON and looks for errors that a decoder accepts. The decoder checks whether it is JSON
// at all.
type scanner struct {
	data   []byte
	pos    int
	values int // arrays, objects, and what follows a comma
	stack  []container
}

// container is an array or object that is open at the scanner's position.
type container struct {
	object  bool
	wantKey bool            // the next string is a key of the object
	keys    [][]byte        // parts of the data, unless they have escapes
	many    map[string]bool // replaces keys if there are many
}

// fewKeys is how many keys are compared one by one.
const fewKeys = 16

// Errors for texts that readers can read differently, or that are too expensive to read.
var (
	errUTF8      = errors.New("not in UTF-8")
	errSurrogate = errors.New("half a surrogate pair, which is not a character")
	errTooMany   = fmt.Errorf("more than %d values", MaxValues)
)

func scan(data []byte) error {
	if !utf8.Valid(data) {
		return errUTF8
	}
	s := &scanner{data: data}
	for ; s.pos < len(data); s.pos++ {
		if err := s.next(); err != nil {
			return err
		}
	}
	return nil
}

// next handles the byte at the scanner's position.
func (s *scanner) next() error {
	switch s.data[s.pos] {
	case '{', '[':
		if len(s.stack) == MaxDepth {
			return fmt.Errorf("nested deeper than %d levels", MaxDepth)
		}
		s.open(s.data[s.pos] == '{')
		return s.count()
	case '}', ']':
		s.stack = s.stack[:max(0, len(s.stack)-1)]
	case ',':
		if len(s.stack) > 0 {
			top := &s.stack[len(s.stack)-1]
			top.wantKey = top.object
		}
		return s.count()
	case '"':
		return s.text()
	}
	return nil
}

// open puts a container on the stack. It uses the memory of one that was at the same depth before.
func (s *scanner) open(object bool) {
	depth := len(s.stack)
	if depth < cap(s.stack) {
		s.stack = s.stack[:depth+1]
	} else {
		s.stack = append(s.stack, container{})
	}
	top := &s.stack[depth]
	*top = container{object: object, wantKey: object, keys: top.keys[:0]}
}

func (s *scanner) count() error {
	if s.values++; s.values > MaxValues {
		return errTooMany
	}
	return nil
}

// text skips the string that begins at the scanner's position and remembers it if it is a key.
func (s *scanner) text() error {
	start, escaped := s.pos, false
	for s.pos++; s.pos < len(s.data) && s.data[s.pos] != '"'; s.pos++ {
		if s.data[s.pos] == '\\' {
			escaped = true
			s.pos++
		}
	}
	if s.pos >= len(s.data) {
		return nil // no end: the decoder reports it
	}
	quoted := s.data[start : s.pos+1]
	if escaped && hasHalfSurrogate(quoted) {
		return errSurrogate
	}
	if len(s.stack) == 0 || !s.stack[len(s.stack)-1].wantKey {
		return nil
	}
	top := &s.stack[len(s.stack)-1]
	top.wantKey = false
	key := quoted[1 : len(quoted)-1]
	if escaped { // "a" and "\u0061" are one key
		var text string
		if err := json.Unmarshal(quoted, &text); err != nil {
			return err
		}
		key = []byte(text)
	}
	if !top.remember(key) {
		return fmt.Errorf("the key %q occurs twice in one object", key)
	}
	return nil
}

// remember reports whether key is new to the object.
func (c *container) remember(key []byte) bool {
	if c.many != nil {
		twice := c.many[string(key)]
		c.many[string(key)] = true
		return !twice
	}
	if slices.ContainsFunc(c.keys, func(k []byte) bool { return bytes.Equal(k, key) }) {
		return false
	}
	c.keys = append(c.keys, key)
	if len(c.keys) == fewKeys {
		c.many = map[string]bool{}
		for _, k := range c.keys {
			c.many[string(k)] = true
		}
	}
	return true
}

// hasHalfSurrogate reports whether a string in quotes escapes half of a pair of UTF-16 alone (RFC 8259, section 8.2).
func hasHalfSurrogate(quoted []byte) bool {
	for {
		i := bytes.IndexByte(quoted, '\\')
		if i < 0 || i+1 >= len(quoted) {
			return false
		}
		high := codeUnit(quoted[i:])
		switch {
		case isLow(high):
			return true
		case isHigh(high):
			if !isLow(codeUnit(quoted[min(i+6, len(quoted)):])) {
				return true
			}
			quoted = quoted[i+12:]
		default:
			quoted = quoted[i+2:]
		}
	}
}

// codeUnit returns the code unit of a \u escape at the beginning of b, or 0 if there is none.
func codeUnit(b []byte) uint16 {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

func isHigh(unit uint16) bool { return unit >= 0xd800 && unit < 0xdc00 }
func isLow(unit uint16) bool  { return unit >= 0xdc00 && unit < 0xe000 }

// Peek returns the string members of the object in data with these names, if they can be read without
// decoding the rest. It checks nothing, so decode these members as well.
func Peek(data []byte, names ...string) map[string]string {
	found := map[string]string{}
	s := &scanner{data: data}
	for ; s.pos < len(data) && len(found) < len(names); s.pos++ {
		start := s.pos
		isKey := data[start] == '"' && len(s.stack) == 1 && s.stack[0].wantKey
		if s.next() != nil {
			return found
		}
		if !isKey || s.pos >= len(data) {
			continue
		}
		name := string(data[start+1 : s.pos])
		if slices.Contains(names, name) {
			found[name] = stringAfter(data[s.pos+1:])
		}
	}
	return found
}

// stringAfter returns the string that follows a key. It is empty if something else follows.
func stringAfter(rest []byte) string {
	rest = bytes.TrimLeft(rest, " \t\r\n:")
	var value string
	end := 1
	for end < len(rest) && rest[end] != '"' {
		if rest[end] == '\\' {
			end++
		}
		end++
	}
	if len(rest) == 0 || rest[0] != '"' || end >= len(rest) || json.Unmarshal(rest[:end+1], &value) != nil {
		return ""
	}
	return value
}
