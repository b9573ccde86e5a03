// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// jsonCutter splits input into JSON texts that follow each other, on lines of their own or not. If a text is
// a list, it splits off the items. It parses only enough JSON to find where a value ends; decoding checks the
// rest.
type jsonCutter struct {
	*cutter
	r *bufio.Reader

	offset           int64 // of the next byte
	newLine, wasLine bool  // whether the next byte, and the last one, is the first of a line
}

// errLarge means that an object was skipped because of its size.
var errLarge = fmt.Errorf("larger than %d MiB", maxObjectBytes>>20)

// syntaxError is an error in the JSON itself, after which the end of the text is not known.
type syntaxError struct {
	offset int64
	text   string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.offset, e.text)
}

func (j *jsonCutter) run() {
	j.newLine = true
	for !j.stopped {
		c, err := j.nonSpace()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = j.text(c)
		}
		var syntax *syntaxError
		if errors.As(err, &syntax) {
			err = j.resume()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				j.fail(err)
			}
			return
		}
	}
}

// text reads one JSON text that begins with c. It has already emitted the error that it returns, unless that
// is a read error.
func (j *jsonCutter) text(c byte) error {
	switch c {
	case '{':
		return j.object()
	case '[':
		j.back()
		data, err := j.value(nil)
		return j.end(data, err)
	}
	err := &syntaxError{j.offset - 1, fmt.Sprintf("expected an object, got %q", c)}
	j.fail(fmt.Errorf("%w: expected a TaskRun, %s", err, howTo))
	return err
}

// end emits a document that is not a list, or the error that prevented reading it.
func (j *jsonCutter) end(data []byte, err error) error {
	var syntax *syntaxError
	switch {
	case err == nil:
		j.document(Object{data: data})
	case errors.Is(err, errLarge):
		j.document(Object{err: err})
		return nil
	case errors.As(err, &syntax):
		j.fail(fmt.Errorf("%w: expected a TaskRun, %s", err, howTo))
	}
	return err
}

// object reads a document after its opening brace.
func (j *jsonCutter) object() error {
	rest := []byte{'{'} // the document without the items of a list
	listOf, n, large := "", 0, false
	var err error
	for first := true; err == nil; first = false {
		var key string
		if rest, key, err = j.member(rest, first); err != nil || key == "" {
			break
		}
		if (key == `"items"` || key == `"records"`) && j.peekNonSpace() == '[' {
			if listOf == "" {
				j.next()
				listOf = strings.Trim(key, `"`)
			}
			n, err = j.items(listOf == "records", n)
			rest = append(rest, "[]"...)
			continue
		}
		rest, err = j.value(rest)
		if large = large || errors.Is(err, errLarge) || len(rest) > maxObjectBytes; large {
			rest = []byte{'{'}
		}
		if errors.Is(err, errLarge) {
			err = nil
		}
	}
	if err == nil && large {
		err = errLarge
	}
	if listOf == "" {
		return j.end(rest, err)
	}
	return j.endOfList(rest, listOf, n, err)
}

// endOfList checks the list around n items.
func (j *jsonCutter) endOfList(rest []byte, field string, n int, err error) error {
	var syntax *syntaxError
	switch {
	case err == nil:
		j.endList(rest, field, n)
	case errors.Is(err, errLarge):
		j.remark(Object{err: fmt.Errorf("the list around the items: %w", err)})
		return nil
	case errors.As(err, &syntax):
		j.remark(Object{err: fmt.Errorf("after item %d: %w", n, err)})
	}
	return err
}

// member reads up to the value of an object's next member and returns the member's name as a JSON string. At
// the end of the object the name is empty.
func (j *jsonCutter) member(rest []byte, first bool) (_ []byte, key string, err error) {
	c, err := j.nonSpace()
	if err == nil && c == '}' {
		return append(rest, c), "", nil
	}
	if err == nil && !first {
		if c != ',' {
			return rest, "", j.unexpected(c)
		}
		rest = append(rest, c)
		c, err = j.nonSpace()
	}
	if err != nil {
		return rest, "", j.cutOff(err)
	}
	if c != '"' {
		return rest, "", j.unexpected(c)
	}
	start := len(rest)
	if rest, err = j.quoted(rest); err != nil {
		return rest, "", j.cutOff(err)
	}
	name := rest[start:]
	if c, err = j.nonSpace(); err != nil {
		return rest, "", j.cutOff(err)
	}
	if c != ':' {
		return rest, "", j.unexpected(c)
	}
	return append(rest, c), plainKey(name), nil
}

// plainKey returns a key as encoding/json writes it, because "a" and "\u0061" are one key.
func plainKey(key []byte) string {
	if !bytes.ContainsRune(key, '\\') {
		return string(key)
	}
	var text string
	if json.Unmarshal(key, &text) != nil {
		return string(key) // decoding will report it
	}
	return `"` + text + `"`
}

// items emits the elements of an array, the first as number n+1, and returns the last one's number.
func (j *jsonCutter) items(records bool, n int) (int, error) {
	format := formatJSON
	if records {
		format = formatRecord
	}
	_, _ = j.nonSpace() // the bracket that was peeked at
	if j.peekNonSpace() == ']' {
		_, _ = j.nonSpace()
		return n, nil
	}
	for !j.stopped {
		data, err := j.value(nil)
		switch {
		case errors.Is(err, errLarge):
			n++
			j.item(n, Object{err: err})
		case err != nil:
			return n, err
		default:
			n++
			j.item(n, Object{data: data, format: format})
		}
		c, err := j.nonSpace()
		if err != nil {
			return n, j.cutOff(err)
		}
		switch c {
		case ',':
		case ']':
			return n, nil
		default:
			return n, j.unexpected(c)
		}
	}
	return n, io.EOF
}
