// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"regexp"
	"sync"
)

// Stand-ins for values of a label.
const (
	noValue    = "none"
	otherValue = "other"
)

// plain is what a label's value may look like: identifiers of this program do.
var plain = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// bounded keeps the values of a label few: whoever counts forgets nothing, so that values without end would fill the memory.
type bounded struct {
	most int

	mu   sync.Mutex
	seen map[string]bool
}

func newBounded(most int) *bounded { return &bounded{most: most, seen: map[string]bool{}} }

// value returns v where it is an identifier and among the first that were seen.
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
