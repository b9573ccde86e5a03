// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// numbers yields 0 to n-1 and counts what was pulled.
func numbers(n int, pulled *atomic.Int64) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			pulled.Add(1)
			if !yield(i) {
				return
			}
		}
	}
}

// The outcomes keep the order of the inputs, for any number of workers and however long each input takes.
func TestOrdered(t *testing.T) {
	work := func(_ context.Context, i int) int {
		time.Sleep(time.Duration(i*7919%13) * 20 * time.Microsecond)
		return i
	}
	for _, workers := range []int{1, 2, 7, 64} {
		var pulled atomic.Int64
		got := slices.Collect(Ordered(t.Context(), numbers(500, &pulled), workers, work))
		if len(got) != 500 || !slices.IsSorted(got) {
			t.Errorf("%d workers: got %d outcomes, sorted: %v", workers, len(got), slices.IsSorted(got))
		}
	}
	for range Ordered(t.Context(), numbers(0, new(atomic.Int64)), 2, work) {
		t.Error("an outcome without an input")
	}
}

// Inputs are not read far ahead, so that memory does not grow with their number.
func TestOrderedIsBounded(t *testing.T) {
	const workers = 2
	var pulled atomic.Int64
	taken := int64(0)
	for range Ordered(t.Context(), numbers(2000, &pulled), workers, func(_ context.Context, i int) int { return i }) {
		taken++
		if held := pulled.Load() - taken; held > workers*ahead+workers+2 {
			t.Fatalf("%d inputs are held", held)
		}
	}
	if taken != 2000 {
		t.Errorf("%d outcomes", taken)
	}
}

func TestOrderedStopsWithItsReader(t *testing.T) {
	var pulled atomic.Int64
	for range Ordered(t.Context(), numbers(1<<30, &pulled), 2, func(_ context.Context, i int) int { return i }) {
		break
	}
	time.Sleep(20 * time.Millisecond)
	before := pulled.Load()
	time.Sleep(20 * time.Millisecond)
	if after := pulled.Load(); after != before {
		t.Errorf("inputs are still pulled: %d, then %d", before, after)
	}
}

// When the context ends, Ordered returns what is done without a gap. It does not wait for inputs or workers
// that hang.
func TestOrderedIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	work := func(_ context.Context, i int) int {
		if i == 10 {
			<-release
		}
		return i
	}
	var got []int
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range Ordered(ctx, numbers(100, new(atomic.Int64)), 2, work) {
			if got = append(got, i); i == 9 {
				cancel()
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("does not end")
	}
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
