// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"encoding/json"
)

// parsePlain reads entries in exactly the form in which Tekton's controller writes them:
// `[{"key":"…","value":"…","type":1},…]` without spaces, in ASCII. For any other text it returns false, and
// the strict parser then reads or refuses it. This saves nearly all of the time that a message takes.
func parsePlain(text []byte) ([]storedEntry, bool) {
	rest, ok := bytes.CutPrefix(text, []byte("["))
	if !ok {
		return nil, false
	}
	var entries []storedEntry
	for {
		var e storedEntry
		if rest, ok = e.cut(rest); !ok {
			return nil, false
		}
		entries = append(entries, e)
		if len(rest) == 1 && rest[0] == ']' {
			return entries, true
		}
		if rest, ok = bytes.CutPrefix(rest, []byte(",")); !ok || len(entries) > maxEntries {
			return nil, false
		}
	}
}

// cut reads one entry from the front of text and returns what follows it.
func (e *storedEntry) cut(text []byte) (rest []byte, ok bool) {
	if rest, ok = bytes.CutPrefix(text, []byte(`{"key":`)); !ok {
		return nil, false
	}
	if e.Key, rest, ok = cutString(rest); !ok {
		return nil, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"value":`)); !ok {
		return nil, false
	}
	if e.Value, rest, ok = cutString(rest); !ok {
		return nil, false
	}
	rest, ok = bytes.CutPrefix(rest, []byte(`,"type":`))
	if !ok || len(rest) < 2 || rest[0] < '0' || rest[0] > '9' || rest[1] != '}' {
		return nil, false
	}
	e.Type = int(rest[0] - '0')
	return rest[2:], true
}

// cutString reads a JSON string of ASCII characters from the front of text.
func cutString(text []byte) (value string, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		return "", nil, false
	}
	escaped := false
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			if !escaped {
				return string(text[1:i]), text[i+1:], true
			}
			if bytes.Contains(text[:i], []byte(`\ud`)) || bytes.Contains(text[:i], []byte(`\uD`)) {
				return "", nil, false // perhaps half of a surrogate pair
			}
			err := json.Unmarshal(text[:i+1], &value)
			return value, text[i+1:], err == nil
		case c == '\\':
			escaped = true
			i++
		case c < ' ' || c > '~':
			return "", nil, false
		}
	}
	return "", nil, false
}
