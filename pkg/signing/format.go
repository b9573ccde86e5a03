// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"fmt"
	"slices"
	"strings"
)

// Format is a version of the evidence.
type Format string

// The formats of docs/evidence.md.
const (
	FormatV1 Format = "v1" // TEP-0089: one signature for each result, compatible with Tekton's own
	FormatV2 Format = "v2" // one detached statement for each step
)

// Formats lists every format, the weakest first.
func Formats() []Format { return []Format{FormatV1, FormatV2} }

// ParseFormat returns the format called name, or an error that lists the known ones.
func ParseFormat(name string) (Format, error) { return parseName(name, "format", Formats()) }

// AtLeast reports whether f is as strong as minimum. An empty or unknown format is weaker than every other,
// and no format is as strong as an unknown minimum.
func (f Format) AtLeast(minimum Format) bool {
	return slices.Contains(Formats(), minimum) && slices.Index(Formats(), f) >= slices.Index(Formats(), minimum)
}

// Binding is what a service account's token is bound to.
type Binding string

// The bindings.
const (
	BindingPayload  Binding = "payload"  // to the digest of what it vouches for: there is no key
	BindingKey      Binding = "key"      // to an ephemeral key
	BindingAudience Binding = "audience" // to a fixed audience only: anyone who reads the token can sign with it
)

// Bindings lists every binding, the strongest first.
func Bindings() []Binding { return []Binding{BindingPayload, BindingKey, BindingAudience} }

// ParseBinding returns the binding called name, or an error that lists the known ones.
func ParseBinding(name string) (Binding, error) { return parseName(name, "binding", Bindings()) }

// DefaultBinding returns the strongest binding that the format allows.
func DefaultBinding(format Format) Binding {
	if format == FormatV1 {
		return BindingKey
	}
	return BindingPayload
}

// CheckBinding returns an error for a binding with which the format cannot sign.
func CheckBinding(format Format, binding Binding) error {
	if format == FormatV1 && binding == BindingPayload {
		return fmt.Errorf("format %s signs each result with a key, which binding %s does not have: use binding %s or %s, or "+
			"format %s",
			FormatV1, BindingPayload, BindingKey, BindingAudience, FormatV2)
	}
	return nil
}

// parseName returns the member of known that is called name.
func parseName[T ~string](name, what string, known []T) (T, error) {
	if slices.Contains(known, T(name)) {
		return T(name), nil
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = string(k)
	}
	return "", fmt.Errorf("unknown %s %q: expected one of %s", what, name, strings.Join(names, ", "))
}
