// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Why there is no place.
var (
	errEvicted = errors.New("the place was needed for other sources")
	errCrowded = errors.New("this source has many places already")
)

// When a place can be evicted.
const (
	// ripe is the age from which an unused place can be evicted. API servers send their data in a fraction of that.
	ripe = time.Second
	// usedRipe is the same for a place that was used before. API servers read an answer at once.
	usedRipe = 100 * time.Millisecond
	// dwarfed is how many times larger than the new place a place must be to be evicted before it is ripe.
	dwarfed = 4
	// much defines a large source: one that holds more than this fraction of a crowd. It is refused if it would have to
	// wait.
	much = 4
)

// Pool shares a fixed amount of connections or bytes fairly between sources, which are addresses. When the pool is
// full, the source that holds most loses a place: the oldest one that is not in use, and first one that was never
// used. So a source cannot keep others out, however much it requests, and sources that hold little come first.
type Pool struct {
	// a source that holds more unused than this is refused if it would have to wait; 0: no source is
	refuse int64
	now    func() time.Time

	mu      sync.Mutex
	free    int64
	leaving int64 // how much evicted places hold until they are released
	places  []*Place
	waiting []*waiter
	timer   *time.Timer
}

// Place is a part of a pool.
type Place struct {
	pool    *Pool
	source  string
	weight  int64
	evict   func()
	since   time.Time // when it was taken, or last used
	used    bool      // it was used before
	kept    bool      // it is in use, and cannot be evicted
	evicted bool
	left    bool
}

type waiter struct {
	place   *Place
	granted chan struct{} // closed when the place is granted or refused
	err     error
}

// NewPool returns a pool of this size, in which every source can wait.
func NewPool(size int64) *Pool { return &Pool{free: size, now: time.Now} }

// NewCrowd returns a pool of this size, in which a source that holds much is refused instead of waiting. So other
// sources do not wait behind it in the one queue.
func NewCrowd(size int64) *Pool { return &Pool{free: size, now: time.Now, refuse: size / much} }

// Take waits for a place of this weight, which must not exceed the pool's size. evict is called at most once,
// without the pool's lock, when other sources need the place. It must not block, and must make the holder call Leave
// soon.
func (p *Pool) Take(ctx context.Context, source string, weight int64, evict func()) (*Place, error) {
	w := &waiter{
		place:   &Place{pool: p, source: source, weight: weight, evict: evict},
		granted: make(chan struct{}),
	}
	p.change(func() { p.waiting = append(p.waiting, w) })
	select {
	case <-w.granted:
		return w.place, w.err
	case <-ctx.Done():
	}
	p.change(func() { p.forget(w) })
	return nil, ctx.Err()
}

// forget gives up a waiting place, or one that was granted at the end of waiting.
func (p *Pool) forget(w *waiter) {
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return
	}
	if w.err == nil {
		w.place.leave()
	}
}

// Keep marks the place as in use, so that it is not evicted. It returns an error if it was evicted before.
func (l *Place) Keep() error {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.evicted {
		return errEvicted
	}
	l.kept = true
	return nil
}

// Evicted reports whether the place was evicted.
func (l *Place) Evicted() bool {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	return l.evicted
}

// Release marks the place as not in use. It can be evicted, after those that were never used.
func (l *Place) Release() {
	l.pool.change(func() {
		if !l.kept || l.left {
			return
		}
		l.kept, l.used, l.since = false, true, l.pool.now()
		l.pool.remove(l)
		l.pool.places = append(l.pool.places, l)
	})
}

// Leave returns the place to the pool. It can be called more than once.
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

// change runs f, and then settles the pool.
func (p *Pool) change(f func()) {
	p.mu.Lock()
	f()
	evicted := p.settle()
	p.mu.Unlock()
	for _, place := range evicted {
		place.evict()
	}
}

// settle grants free places to those that wait, and returns the places that must be evicted for them.
func (p *Pool) settle() (evicted []*Place) {
	for len(p.waiting) > 0 {
		i := p.next()
		w := p.waiting[i]
		if w.place.weight > p.free {
			gone := p.makeRoom(w.place.weight)
			evicted = append(evicted, gone...)
			if p.free+p.leaving >= w.place.weight {
				return evicted // they leave soon
			}
			if !p.refuses(w.place.source) {
				p.settleLater()
				return evicted
			}
			w.err = errCrowded
		} else {
			p.give(w.place)
		}
		p.waiting = slices.Delete(p.waiting, i, i+1)
		close(w.granted)
	}
	return evicted
}

func (p *Pool) give(l *Place) {
	p.free -= l.weight
	l.since = p.now()
	p.places = append(p.places, l)
}

// settleLater settles the pool again when the next place is ripe.
func (p *Pool) settleLater() {
	if p.timer != nil {
		return
	}
	wait := ripe
	for _, l := range p.places {
		if !l.kept && !l.evicted {
			wait = min(wait, max(l.young(), 0))
		}
	}
	p.timer = time.AfterFunc(wait+time.Millisecond, func() { p.change(func() { p.timer = nil }) })
}

// refuses reports whether the source holds so much that it is refused instead of waiting.
func (p *Pool) refuses(source string) bool {
	return p.refuse > 0 && p.held(func(l *Place) bool { return !l.kept })[source] > p.refuse
}

// next returns who gets the next place: the one whose source would hold least. Of several, the last to come is
// first, because callers do not wait for long. A place that does not fit must not keep others waiting.
func (p *Pool) next() int {
	held := p.held(func(*Place) bool { return true })
	would := func(w *waiter) int64 { return held[w.place.source] + w.place.weight }
	next := 0
	for i, w := range p.waiting {
		if would(w) <= would(p.waiting[next]) {
			next = i
		}
	}
	return next
}

// makeRoom evicts places until enough will be free, or until there is nothing left to evict.
func (p *Pool) makeRoom(weight int64) (evicted []*Place) {
	for p.free+p.leaving < weight {
		place := p.victim(weight)
		if place == nil {
			break
		}
		place.evicted = true
		p.leaving += place.weight
		evicted = append(evicted, place)
	}
	return evicted
}

// victim returns the place to evict first for a place of this weight, or nil.
func (p *Pool) victim(weight int64) *Place {
	may := func(l *Place) bool {
		return !l.kept && !l.evicted && (l.young() <= 0 || l.weight > dwarfed*weight)
	}
	held := p.held(may)
	var victim *Place
	for _, l := range p.places { // ordered by when they were granted or last used
		if may(l) && (victim == nil || l.before(victim, held)) {
			victim = l
		}
	}
	return victim
}

// young returns for how long the place cannot be evicted.
func (l *Place) young() time.Duration {
	age := l.pool.now().Sub(l.since)
	if l.used {
		return usedRipe - age
	}
	return ripe - age
}

// before reports whether a place must be evicted before an older one, because its source holds more.
func (l *Place) before(other *Place, held map[string]int64) bool {
	if l.used != other.used {
		return other.used
	}
	return held[l.source] > held[other.source]
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
