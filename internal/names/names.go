// SPDX-License-Identifier: Apache-2.0

// Package names joins names for messages, and cuts long lists short.
package names

import (
	"fmt"
	"slices"
	"strings"
)

// few is how many names Few lists.
const few = 10

// Few joins names in alphabetical order, and only the first ten of a long list.
func Few(list []string) string { return First(slices.Sorted(slices.Values(list)), few) }

// First joins the first n names and counts the rest.
func First(list []string, n int) string {
	if rest := len(list) - n; rest > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:n], ", "), rest)
	}
	return strings.Join(list, ", ")
}
