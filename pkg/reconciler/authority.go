// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"bytes"
	"slices"
	"sync"
	"time"
)

// authorityOverlap is how long API servers accept the authority before the present one too. Replicas go on using the
// certificate before for a part of that, so that there is never one which nobody accepts.
const authorityOverlap = 5 * time.Minute

// authorities are those that API servers are to accept of the webhooks' certificate.
type authorities struct {
	now func() time.Time

	mu       sync.Mutex
	current  []byte // the authority of the certificate, PEM
	previous []byte // the one before, while both are to be accepted
	since    time.Time
}

// remember notes the authority, and returns all that API servers are to accept now and when that changes; 0: not by itself.
// Every replica does, not only the one that leads: another may lead when it changes.
func (a *authorities) remember(authority []byte) (bundle []byte, again time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if !bytes.Equal(a.current, authority) {
		a.previous, a.current, a.since = a.current, bytes.Clone(authority), now
	}
	again = authorityOverlap - now.Sub(a.since)
	if len(a.previous) == 0 || again <= 0 {
		a.previous = nil
		return a.current, 0
	}
	return slices.Concat(a.current, a.previous), again
}
