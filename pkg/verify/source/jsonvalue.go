// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// What may follow next in a value.
const (
	wantValue = iota
	wantValueOrEnd
	wantKey
	wantKeyOrEnd
	wantColon
	wantCommaOrEnd
)

// maxOpen is how many arrays and objects may be open while looking for the end of a value. Decoding allows
// fewer.
const maxOpen = 1 << 12

// value reads one value and appends it to data. errLarge means that the value was skipped.
func (j *jsonCutter) value(data []byte) ([]byte, error) {
	var open []byte // the brackets that are open
	want, start, large := wantValue, j.offset, false
	for {
		c, err := j.nonSpace()
		if err != nil {
			return nil, j.cutOff(err)
		}
		atString := c == '"' && want != wantColon && want != wantCommaOrEnd
		switch {
		case atString:
			data, err = j.quoted(data)
			if want == wantKey || want == wantKeyOrEnd {
				want = wantColon
			} else {
				want = wantCommaOrEnd
			}
		case c == ':' && want == wantColon:
			data, want = append(data, c), wantValue
		case c == ',' && want == wantCommaOrEnd:
			data, want = append(data, c), afterComma(open)
		case (c == '}' || c == ']') && closes(c, open, want):
			data, open, want = append(data, c), open[:len(open)-1], wantCommaOrEnd
		case (c == '{' || c == '[') && want <= wantValueOrEnd && len(open) < maxOpen:
			data, open = append(data, c), append(open, c)
			if want = wantValueOrEnd; c == '{' {
				want = wantKeyOrEnd
			}
		case isScalar(c) && want <= wantValueOrEnd:
			data, err = j.scalar(append(data, c))
			want = wantCommaOrEnd
		default:
			return nil, j.unexpected(c)
		}
		if err != nil {
			return nil, j.cutOff(err)
		}
		if large || len(data) > maxObjectBytes {
			large, data = true, data[:0]
			if j.offset-start > maxSkipped {
				return nil, errGivenUp
			}
		}
		if len(open) == 0 {
			if large {
				return nil, errLarge
			}
			return data, nil
		}
	}
}

// errGivenUp ends the reading of a file.
var errGivenUp = fmt.Errorf("an object is larger than %d MiB: the rest of the file was not read", maxSkipped>>20)

func afterComma(open []byte) int {
	if open[len(open)-1] == '{' {
		return wantKey
	}
	return wantValue
}

// closes reports whether the bracket c is allowed here.
func closes(c byte, open []byte, want int) bool {
	if len(open) == 0 {
		return false
	}
	if open[len(open)-1] == '{' {
		return c == '}' && (want == wantCommaOrEnd || want == wantKeyOrEnd)
	}
	return c == ']' && (want == wantCommaOrEnd || want == wantValueOrEnd)
}

func isScalar(c byte) bool {
	return c == '-' || c == '+' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// scalar reads the rest of a number or a name.
func (j *jsonCutter) scalar(data []byte) ([]byte, error) {
	for start := j.offset; j.offset-start <= maxSkipped; {
		c, err := j.take()
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return data, err
		}
		if !isScalar(c) {
			j.back()
			return data, nil
		}
		if len(data) <= maxObjectBytes {
			data = append(data, c)
		}
	}
	return data, errGivenUp
}

// quoted reads a string after its opening quote. Of a string that is too large, it keeps just enough to
// detect that.
func (j *jsonCutter) quoted(data []byte) ([]byte, error) {
	data = append(data, '"')
	start := j.offset
	for escaped := false; ; {
		chunk, err := j.chunk()
		if err != nil {
			return data, err
		}
		end := bytes.IndexByte(chunk, '"')
		body := chunk
		if end >= 0 {
			body = chunk[:end]
		}
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			j.skip(i)
			return data, &syntaxError{j.offset, "a line break in a string"}
		}
		escaped = endsEscaped(body, escaped)
		if end >= 0 {
			body = chunk[:end+1]
		}
		if data = append(data, body...); len(data) > 2*maxObjectBytes {
			data = data[:maxObjectBytes+1]
		}
		j.skip(len(body))
		switch {
		case end >= 0 && !escaped:
			return data, nil
		case j.offset-start > maxSkipped:
			return data, errGivenUp
		case end >= 0:
			escaped = false // this quote was escaped
		}
	}
}

// endsEscaped reports whether text ends in a backslash that escapes the next byte. before reports whether the
// first byte of text is escaped.
func endsEscaped(text []byte, before bool) bool {
	n := len(text) - len(bytes.TrimRight(text, `\`))
	odd := n%2 == 1
	if n == len(text) {
		return odd != before
	}
	return odd
}

// chunk returns what can be read at once, at least one byte. skip consumes it.
func (j *jsonCutter) chunk() ([]byte, error) {
	if _, err := j.r.Peek(1); err != nil {
		return nil, err
	}
	return j.r.Peek(j.r.Buffered())
}

func (j *jsonCutter) skip(n int) {
	if n > 0 {
		_, _ = j.r.Discard(n) // it was peeked at
		j.offset += int64(n)
		j.newLine = false
	}
}

// take consumes the next byte, back unreads it.
func (j *jsonCutter) take() (byte, error) {
	c, err := j.r.ReadByte()
	if err == nil {
		j.offset++
		j.wasLine, j.newLine = j.newLine, c == '\n'
	}
	return c, err
}

func (j *jsonCutter) back() {
	_ = j.r.UnreadByte() // it was taken
	j.offset--
	j.newLine = j.wasLine
}

// nonSpace consumes the next byte that is not white space.
func (j *jsonCutter) nonSpace() (byte, error) {
	for {
		c, err := j.take()
		if err != nil || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c, err
		}
	}
}

// peekNonSpace returns the next byte that is not white space, without consuming it; 0 if there is none.
func (j *jsonCutter) peekNonSpace() byte {
	c, err := j.nonSpace()
	if err != nil {
		return 0
	}
	j.back()
	return c
}

// unexpected unreads a byte that is not allowed here.
func (j *jsonCutter) unexpected(c byte) error {
	j.back()
	return &syntaxError{j.offset, fmt.Sprintf("unexpected %q", c)}
}

// cutOff turns the end of the file into an error.
func (j *jsonCutter) cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return &syntaxError{j.offset, "it is cut off"}
	}
	return err
}

// resume continues after an error at the next line that begins an object, so that a broken line of JSON does
// not affect the others.
func (j *jsonCutter) resume() error {
	for start := j.offset; j.offset-start <= maxSkipped; {
		chunk, err := j.chunk()
		if err != nil {
			return err
		}
		if j.newLine && chunk[0] == '{' {
			return nil
		}
		end := bytes.IndexByte(chunk, '\n')
		if end < 0 {
			j.skip(len(chunk))
			continue
		}
		j.skip(end + 1)
		j.newLine = true
	}
	return errGivenUp
}
