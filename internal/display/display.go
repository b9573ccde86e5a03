// SPDX-License-Identifier: Apache-2.0

// Package display makes text from clusters and files safe to show to people. It uses only the standard
// library.
package display

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultWidth is how many characters of one value are shown to people.
const DefaultWidth = 200

// maxMarks is how many combining marks may follow each other. More of them would cover the lines above and
// below.
const maxMarks = 2

// Safe makes text from a cluster or a file safe to show in one line. Printable letters, marks, numbers,
// punctuation, symbols and the space pass. Everything else is escaped: control characters, escape sequences,
// line breaks, bidi controls, invisible characters, bytes that are not UTF-8, and too many combining marks.
func Safe(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	marks := 0
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case !Visible(r) || marks > maxMarks:
			b.WriteString(Escape(r))
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// Short is Safe for a value that may be long. It cuts the value after width characters, and adds the length
// and the digest of the whole value.
func Short(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return Safe(text)
	}
	end := 0
	for range width {
		_, size := utf8.DecodeRuneInString(text[end:])
		end += size
	}
	return fmt.Sprintf("%s… (%d bytes, sha256:%.12x)", Safe(text[:end]), len(text), sha256.Sum256([]byte(text)))
}

// Cut returns the first limit bytes of a text, or fewer to keep characters whole. It escapes nothing.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "")
}

// Name is Short for the name of a result. It marks names with characters beyond ASCII, because they can look
// like other letters.
func Name(name string) string {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return Short(name, DefaultWidth) + " (not ASCII)"
		}
	}
	return Short(name, DefaultWidth)
}

// Cell is Short for a name in a column. It quotes a name with spaces, which could look like the gap between
// two columns. Names in a cluster have no spaces.
func Cell(name string) string {
	if strings.ContainsFunc(name, unicode.IsSpace) {
		return `"` + Short(name, DefaultWidth) + `"`
	}
	return Short(name, DefaultWidth)
}

// Visible reports whether a character is visible and does not move other text.
func Visible(r rune) bool {
	return unicode.IsPrint(r) &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) &&
		r != '\u2800' // the braille pattern without a dot
}

// Escape returns a character in the escaped form of Safe.
func Escape(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < utf8.RuneSelf:
		return fmt.Sprintf(`\x%02x`, r)
	case r > 0xffff:
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}
