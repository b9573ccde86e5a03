// SPDX-License-Identifier: Apache-2.0

// Package canonical writes JSON in the form of RFC 8785, over which the add-on's statements are signed.
package canonical

import (
	"encoding/json"
	"fmt"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
)

// MaxMembers caps one object, because sorting compares all names with each other. JSON does not check it:
// values of a fixed type need no check. Call Check for others.
const MaxMembers = 512

// JSON returns the RFC 8785 form of v, which must be an object or a list.
func JSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	if b, err = jsoncanonicalizer.Transform(b); err != nil {
		return nil, fmt.Errorf("bringing into the form of RFC 8785: %w", err)
	}
	return b, nil
}

// maxInteger is the largest integer that RFC 8785 writes exactly, because it takes numbers for floats. Beyond it,
// different integers have the same form.
const maxInteger = 1<<53 - 1

// Check returns an error if an object in a decoded value has more than MaxMembers members, or if a json.Number in it
// is no integer that JSON writes exactly.
func Check(v any) error {
	var inner []any
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err != nil || n > maxInteger || n < -maxInteger {
			return fmt.Errorf("expected integers of at most %d, got %s", maxInteger, v)
		}
	case map[string]any:
		if len(v) > MaxMembers {
			return fmt.Errorf("expected objects with at most %d members, got one with %d", MaxMembers, len(v))
		}
		for _, member := range v {
			inner = append(inner, member)
		}
	case []any:
		inner = v
	}
	for _, value := range inner {
		if err := Check(value); err != nil {
			return err
		}
	}
	return nil
}
