// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"regexp"
	"sync"
)

// Values for labels that are replaced.
const (
	noValue    = "none"
	otherValue = "other"
)

// plain matches the values that a label can have: identifiers of this program.
var plain = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// bounded limits how many values a label has. A metric keeps all its values, so unlimited values would fill the
// memory.
type bounded struct {
	most int

	mu   sync.Mutex
	seen map[string]bool
}

func newBounded(most int) *bounded { return &bounded{most: most, seen: map[string]bool{}} }

// value returns v if it is an identifier and among the first that were seen.
func (b *bounded) value(v string) string {
	if v == "" {
		return noValue
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.seen[v] && (len(b.seen) >= b.most || !plain.MatchString(v)) {
		return otherValue
	}
	b.seen[v] = true
	return v
}
