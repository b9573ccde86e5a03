// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"bytes"
	"slices"
	"sync"
	"time"
)

// authorityOverlap is how long API servers accept an authority after it was replaced. Replicas go on using the
// certificate before for a part of that, so that there is never one which nobody accepts.
const authorityOverlap = 5 * time.Minute

// maxReplaced bounds how many replaced authorities are accepted: a quarrel over the Secret must not fill the
// configuration.
const maxReplaced = 3

// authorities are those that API servers are to accept of the webhooks' certificate.
type authorities struct {
	now func() time.Time

	mu       sync.Mutex
	present  []byte     // PEM
	replaced []replaced // the last one first
}

// replaced is an authority that was the present one until then.
type replaced struct {
	pem   []byte
	until time.Time
}

// learn takes what API servers accept already for the authority of before, so that a keeper that starts in the
// middle of a replacement does not cut it short.
func (a *authorities) learn(accepted []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.present) == 0 {
		a.present = bytes.Clone(accepted)
	}
}

// remember notes the present authority, and returns all that API servers are to accept now and when that changes;
// 0: not by itself. Every replica does, not only the one that leads: another may lead when it changes.
func (a *authorities) remember(present []byte) (bundle []byte, again time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if !bytes.Equal(a.present, present) {
		if len(a.present) > 0 {
			a.replaced = slices.Insert(a.replaced, 0, replaced{a.present, now})
		}
		a.present = bytes.Clone(present)
	}
	a.replaced = slices.DeleteFunc(a.replaced, func(r replaced) bool {
		return now.Sub(r.until) >= authorityOverlap || bytes.Equal(r.pem, present)
	})
	a.replaced = a.replaced[:min(len(a.replaced), maxReplaced)]
	bundle = a.present
	for _, r := range a.replaced {
		bundle = slices.Concat(bundle, r.pem)
		again = authorityOverlap - now.Sub(r.until) // that of the first to go in the end
	}
	return bundle, again
}
