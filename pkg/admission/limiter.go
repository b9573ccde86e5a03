// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Limiter limits how many requests are in work, to the number of processors, in the order in which they came. A
// hundred requests at once would share the processors, and all would end late. While a request waits for another
// server it does not count, and it continues before those that have not begun.
type Limiter struct {
	mu        sync.Mutex
	free      int
	waiting   []chan struct{} // to begin
	returning []chan struct{} // to go on
}

// NewLimiter returns a limiter for n requests at a time.
func NewLimiter(n int) *Limiter { return &Limiter{free: max(n, 1)} }

type turnKey struct{}

// turn is one request's turn. Only one goroutine at a time uses it.
type turn struct {
	limiter *Limiter
	outside time.Duration // how long it waited for other servers, and to continue
}

// Enter waits for a turn. Use the returned context for Outside, and call Leave at the end. It is an error if ctx
// ends before.
func (l *Limiter) Enter(ctx context.Context) (context.Context, error) {
	called := l.queue(&l.waiting)
	select {
	case <-called:
		return context.WithValue(ctx, turnKey{}, &turn{limiter: l}), nil
	case <-ctx.Done():
	}
	if l.forget(called) {
		return nil, ctx.Err()
	}
	l.Leave() // the turn came at the same time
	return nil, ctx.Err()
}

// queue returns a channel that is closed when the turn has come.
func (l *Limiter) queue(line *[]chan struct{}) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	called := make(chan struct{})
	if l.free > 0 {
		l.free--
		close(called)
		return called
	}
	*line = append(*line, called)
	return called
}

// forget removes a request that waits to begin, and reports whether it was still waiting.
func (l *Limiter) forget(called chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiting, called)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	return i >= 0
}

// Leave passes the turn on.
func (l *Limiter) Leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := &l.waiting
	if len(l.returning) > 0 {
		line = &l.returning
	}
	if len(*line) == 0 {
		l.free++
		return
	}
	close((*line)[0])
	*line = (*line)[1:]
}

// Outside calls f, which waits for another server, such as the API server. Meanwhile, other requests can work, if
// ctx comes from a limiter.
func Outside(ctx context.Context, f func()) {
	t, ok := ctx.Value(turnKey{}).(*turn)
	if !ok {
		f()
		return
	}
	left := time.Now()
	t.limiter.Leave()
	defer func() { // also if f panics
		<-t.limiter.queue(&t.limiter.returning)
		t.outside += time.Since(left)
	}()
	f()
}

// outside returns how long a request has waited for other servers.
func outside(ctx context.Context) time.Duration {
	if t, ok := ctx.Value(turnKey{}).(*turn); ok {
		return t.outside
	}
	return 0
}
