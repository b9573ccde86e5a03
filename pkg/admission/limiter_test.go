// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestGateOrder has one at a time: those who wait begin in the order in which they came, and who was outside goes
// on first.
func TestGateOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := NewLimiter(1)
		var mu sync.Mutex
		var order []string
		note := func(s string) { mu.Lock(); defer mu.Unlock(); order = append(order, s) }
		work := func(name string, outside time.Duration) {
			ctx, err := gate.Enter(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer gate.Leave()
			note(name)
			time.Sleep(time.Second)
			if outside > 0 {
				Outside(ctx, func() { time.Sleep(outside) })
				note(name + " again")
				time.Sleep(time.Second)
			}
		}
		for _, w := range []struct {
			name    string
			outside time.Duration
		}{{"a", 1500 * time.Millisecond}, {"b", 0}, {"c", 0}, {"d", 0}} {
			go work(w.name, w.outside)
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		gate.mu.Lock()
		defer gate.mu.Unlock()
		if want := []string{"a", "b", "c", "a again", "d"}; !slices.Equal(order, want) {
			t.Errorf("order: expected %v, got %v", want, order)
		}
		if gate.free != 1 {
			t.Errorf("expected the gate to be free, got %d places", gate.free)
		}
	})
}

// TestGateLimit has many at once, some of whom panic outside or give up.
func TestGateLimit(t *testing.T) {
	gate := NewLimiter(3)
	var inside, most atomic.Int64
	count := func(d int64) {
		for n, m := inside.Add(d), most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			defer func() { _ = recover() }()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%5 == 0 {
				cancel()
			}
			ctx, err := gate.Enter(ctx)
			if err != nil {
				return
			}
			defer gate.Leave()
			count(1)
			defer count(-1)
			count(-1)
			defer count(1)
			Outside(ctx, func() {
				if i%7 == 0 {
					panic("outside")
				}
			})
			count(1)
			defer count(-1)
		})
	}
	wg.Wait()
	if most.Load() > 3 || most.Load() == 0 || gate.free != 3 || len(gate.waiting)+len(gate.returning) != 0 {
		t.Errorf("expected at most 3 at a time and a free gate, got %d, %+v", most.Load(), gate)
	}
	Outside(t.Context(), func() { count(1) }) // without a gate
}
