// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"bytes"
	"slices"
	"sync"
	"time"
)

// authorityOverlap is how long API servers accept an authority after it was replaced. Replicas use the previous
// certificate for a part of that time, so that API servers always accept the one in use.
const authorityOverlap = 5 * time.Minute

// maxReplaced bounds how many replaced authorities are accepted, so that two writers of the Secret cannot fill the
// configuration.
const maxReplaced = 3

// authorities are the authorities of the webhooks' certificate that API servers accept.
type authorities struct {
	now func() time.Time

	mu       sync.Mutex
	present  []byte     // PEM
	replaced []replaced // the last one first
}

// replaced is an authority that was in use until a certain time.
type replaced struct {
	pem   []byte
	until time.Time
}

// learn takes the authorities that API servers already accept as replaced ones, so that a keeper that starts during
// a replacement does not cut it short.
func (a *authorities) learn(accepted []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.present) == 0 {
		a.present = bytes.Clone(accepted)
	}
}

// remember stores the present authority. It returns all authorities that API servers must accept now, and when that
// changes, or 0 if it does not change by itself. Every replica does this, not only the leader, because another one
// can lead by then.
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
