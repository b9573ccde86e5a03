// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"bytes"
	"encoding/json"
	"errors"
)

// errForm is the error for a value that is not a JSON object or list where one was expected.
var errForm = errors.New("expected another form of JSON")

// walk calls each with the members of an object, with their keys in quotes, or with the elements of a list, without
// keys. It reads each byte once and copies nothing. raw was found to be JSON when the review was decoded.
func walk(raw []byte, each func(key, value []byte)) error {
	i := space(raw, 0)
	if i == len(raw) || raw[i] != '{' && raw[i] != '[' {
		return errForm
	}
	object := raw[i] == '{'
	i = space(raw, i+1)
	for first := true; ; first = false {
		if i < len(raw) && (raw[i] == '}' || raw[i] == ']') {
			if space(raw, i+1) != len(raw) {
				return errForm
			}
			return nil
		}
		if !first {
			if i == len(raw) || raw[i] != ',' {
				return errForm
			}
			i = space(raw, i+1)
		}
		var key []byte
		if object {
			end := stringEnd(raw, i)
			key = raw[min(i, end):end]
			if i = space(raw, end); len(key) == 0 || i == len(raw) || raw[i] != ':' {
				return errForm
			}
			i = space(raw, i+1)
		}
		end := valueEnd(raw, i)
		if end <= i {
			return errForm
		}
		each(key, raw[i:end])
		i = space(raw, end)
	}
}

// members returns the members of an object.
func members(raw []byte) (map[string]json.RawMessage, error) {
	if first := space(raw, 0); first == len(raw) || raw[first] != '{' {
		return nil, errForm
	}
	all := map[string]json.RawMessage{}
	err := walk(raw, func(key, value []byte) { all[string(unquote(key))] = value })
	return all, err
}

// elements returns the elements of a list.
func elements(raw []byte) ([]json.RawMessage, error) {
	if first := space(raw, 0); first == len(raw) || raw[first] != '[' {
		return nil, errForm
	}
	all := []json.RawMessage{}
	err := walk(raw, func(_, value []byte) { all = append(all, value) })
	return all, err
}

// unquote returns the text of a JSON string, or an empty text for another value.
func unquote(raw []byte) []byte {
	switch {
	case len(raw) < 2 || raw[0] != '"':
		return nil
	case bytes.IndexByte(raw, '\\') < 0:
		return raw[1 : len(raw)-1]
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil
	}
	return []byte(text)
}

func space(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns where the value that begins at i ends.
func valueEnd(raw []byte, i int) int {
	if i >= len(raw) {
		return i
	}
	switch raw[i] {
	case '"':
		return stringEnd(raw, i)
	case '{', '[':
		return nestEnd(raw, i)
	}
	for ; i < len(raw); i++ {
		switch raw[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
	}
	return i
}

func nestEnd(raw []byte, i int) int {
	for depth := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i = stringEnd(raw, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(raw)
}

// stringEnd returns where the string that begins at i ends.
func stringEnd(raw []byte, i int) int {
	if i >= len(raw) || raw[i] != '"' {
		return i
	}
	for i++; i < len(raw); i++ {
		next := bytes.IndexAny(raw[i:min(i+64, len(raw))], `"\`)
		switch {
		case next < 0:
			i = min(i+64, len(raw)) - 1
		case raw[i+next] == '"':
			return i + next + 1
		default:
			i += next + 1 // and what it escapes
		}
	}
	return len(raw)
}
