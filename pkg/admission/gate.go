// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Gate lets few requests be worked on at the same time, as many as there are processors, in the order in which they
// came: a hundred at once would share the processors and all be done when the last one is. Who waits for somebody
// else stands outside meanwhile, and comes back before those who have not begun.
type Gate struct {
	mu        sync.Mutex
	free      int
	waiting   []chan struct{} // to begin
	returning []chan struct{} // to go on
}

// NewGate returns a gate for n requests at a time.
func NewGate(n int) *Gate { return &Gate{free: max(n, 1)} }

type turnKey struct{}

// turn is one request's stay inside. One goroutine at a time uses it.
type turn struct {
	gate    *Gate
	outside time.Duration // so long it waited for others, and to come back
}

// Enter waits for a turn. The context that it returns is for Outside; Leave must follow. It is an error if ctx ends
// before.
func (g *Gate) Enter(ctx context.Context) (context.Context, error) {
	called := g.queue(&g.waiting)
	select {
	case <-called:
		return context.WithValue(ctx, turnKey{}, &turn{gate: g}), nil
	case <-ctx.Done():
	}
	if g.forget(called) {
		return nil, ctx.Err()
	}
	g.Leave() // the turn came at the same time
	return nil, ctx.Err()
}

// queue returns a channel that is closed when the turn has come.
func (g *Gate) queue(line *[]chan struct{}) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	called := make(chan struct{})
	if g.free > 0 {
		g.free--
		close(called)
		return called
	}
	*line = append(*line, called)
	return called
}

// forget takes back what waits to begin, and reports whether it still waited.
func (g *Gate) forget(called chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, called)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return i >= 0
}

// Leave gives the turn to the next.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	line := &g.waiting
	if len(g.returning) > 0 {
		line = &g.returning
	}
	if len(*line) == 0 {
		g.free++
		return
	}
	close((*line)[0])
	*line = (*line)[1:]
}

// Outside calls f, which waits for somebody else, such as the API server. Others go on meanwhile if ctx is of a gate.
func Outside(ctx context.Context, f func()) {
	t, ok := ctx.Value(turnKey{}).(*turn)
	if !ok {
		f()
		return
	}
	left := time.Now()
	t.gate.Leave()
	defer func() { // also when f panics: whoever entered leaves
		<-t.gate.queue(&t.gate.returning)
		t.outside += time.Since(left)
	}()
	f()
}

// outside returns how long a request has waited for others.
func outside(ctx context.Context) time.Duration {
	if t, ok := ctx.Value(turnKey{}).(*turn); ok {
		return t.outside
	}
	return 0
}
