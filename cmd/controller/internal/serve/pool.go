// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// errEvicted says that a place was taken away for somebody else.
var errEvicted = errors.New("the place was needed for others")

// Pool shares a fixed amount of something, connections or bytes, fairly between sources, which are addresses. Where it runs
// short, the source that holds most gives way: of what it holds and does not work yet, the oldest is evicted. So no source can
// keep another one out, however much it asks for, and who has much waits for who has little.
type Pool struct {
	mu      sync.Mutex
	free    int64
	leaving int64 // what evicted places hold until they are released
	places  []*Place
	waiting []*waiter
}

// Place is a part of a pool that somebody holds.
type Place struct {
	pool    *Pool
	source  string
	weight  int64
	evict   func()
	kept    bool // work is being done with it: it is not evicted
	evicted bool
	left    bool
}

type waiter struct {
	place *Place
	given chan struct{}
}

// NewPool returns a pool of so much.
func NewPool(size int64) *Pool { return &Pool{free: size} }

// Take waits for a place of this weight, which must not be above the pool's size. evict is called at most once, without the
// pool's lock, when others need the place; it must not wait, and has the holder call Leave soon.
func (p *Pool) Take(ctx context.Context, source string, weight int64, evict func()) (*Place, error) {
	w := &waiter{
		place: &Place{pool: p, source: source, weight: weight, evict: evict},
		given: make(chan struct{}),
	}
	p.change(func() { p.waiting = append(p.waiting, w) })
	select {
	case <-w.given:
		return w.place, nil
	default:
	}
	select {
	case <-w.given:
		return w.place, nil
	case <-ctx.Done():
	}
	p.change(func() { p.forget(w) })
	return nil, ctx.Err()
}

// forget takes back what waits, or what came at the same time as the end of waiting.
func (p *Pool) forget(w *waiter) {
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return
	}
	w.place.leave()
}

// Keep says that the place is being worked with, so that it stays. It is an error if it was taken away before.
func (l *Place) Keep() error {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.evicted {
		return errEvicted
	}
	l.kept = true
	return nil
}

// Evicted reports whether the place was taken away.
func (l *Place) Evicted() bool {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	return l.evicted
}

// Release says that the place may be taken away again, after those that have not been worked with.
func (l *Place) Release() {
	l.pool.change(func() {
		if !l.kept || l.left {
			return
		}
		l.kept = false
		l.pool.remove(l)
		l.pool.places = append(l.pool.places, l)
	})
}

// Leave gives the place back. It may be called more than once.
func (l *Place) Leave() { l.pool.change(l.leave) }

func (l *Place) leave() {
	if l.left {
		return
	}
	l.left = true
	l.pool.free += l.weight
	if l.evicted {
		l.pool.leaving -= l.weight
	}
	l.pool.remove(l)
}

func (p *Pool) remove(l *Place) {
	p.places = slices.DeleteFunc(p.places, func(other *Place) bool { return other == l })
}

// change does f, and then what follows from it.
func (p *Pool) change(f func()) {
	p.mu.Lock()
	f()
	evicted := p.settle()
	p.mu.Unlock()
	for _, place := range evicted {
		place.evict()
	}
}

// settle gives what is free to those who wait, and returns the places that have to go for them.
func (p *Pool) settle() (evicted []*Place) {
	for len(p.waiting) > 0 {
		i := p.next()
		w := p.waiting[i]
		if w.place.weight > p.free {
			return append(evicted, p.makeRoom(w.place.weight)...)
		}
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.free -= w.place.weight
		p.places = append(p.places, w.place)
		close(w.given)
	}
	return evicted
}

// next returns who is next: of the source that holds least, the one that waits longest.
func (p *Pool) next() int {
	held := p.held(func(*Place) bool { return true })
	first := 0
	for i, w := range p.waiting {
		if held[w.place.source] < held[p.waiting[first].place.source] {
			first = i
		}
	}
	return first
}

// makeRoom marks places until so much will be free, or nothing is left that may go.
func (p *Pool) makeRoom(weight int64) (evicted []*Place) {
	for p.free+p.leaving < weight {
		place := p.victim()
		if place == nil {
			break
		}
		place.evicted = true
		p.leaving += place.weight
		evicted = append(evicted, place)
	}
	return evicted
}

// victim returns the oldest place of the source that holds most of what may go, nil if nothing may.
func (p *Pool) victim() *Place {
	idle := func(l *Place) bool { return !l.kept && !l.evicted }
	held := p.held(idle)
	var victim *Place
	for _, l := range p.places { // in the order in which they were given, or last worked with
		if idle(l) && (victim == nil || held[l.source] > held[victim.source]) {
			victim = l
		}
	}
	return victim
}

// held returns how much each source holds of what counts.
func (p *Pool) held(counts func(*Place) bool) map[string]int64 {
	held := map[string]int64{}
	for _, l := range p.places {
		if counts(l) {
			held[l.source] += l.weight
		}
	}
	return held
}
