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
	errEvicted = errors.New("the place was needed for others")
	errCrowded = errors.New("this source has many places already")
)

// How others' places are taken away.
const (
	// ripe is how old a place is that may be taken away although nothing was done with it yet: what API servers send comes
	// in a fraction of that.
	ripe = time.Second
	// usedRipe is the same for one that was worked with: API servers take an answer at once.
	usedRipe = 100 * time.Millisecond
	// dwarfed is how many times larger a younger place must be than the one that needs it.
	dwarfed = 4
	// much is the part of a crowd, one in so many, from which on a source is refused where it would have to wait.
	much = 4
)

// Pool shares a fixed amount of something, connections or bytes, fairly between sources, which are addresses. Where it runs
// short, the source that holds most gives way: of what it holds without working with it, the oldest is evicted, and first what
// was never worked with. So no source can keep another one out, however much it asks for, and who has little comes before who
// has much.
type Pool struct {
	refuse int64 // a source that holds more than this without working with it is refused where it would have to wait; 0: none is
	now    func() time.Time

	mu      sync.Mutex
	free    int64
	leaving int64 // what evicted places hold until they are released
	places  []*Place
	waiting []*waiter
	timer   *time.Timer
}

// Place is a part of a pool that somebody holds.
type Place struct {
	pool    *Pool
	source  string
	weight  int64
	evict   func()
	since   time.Time // when it was given, or last worked with
	used    bool      // it was worked with before
	kept    bool      // work is being done with it: it is not evicted
	evicted bool
	left    bool
}

type waiter struct {
	place *Place
	given chan struct{} // closed when the place is given, or refused
	err   error
}

// NewPool returns a pool of so much, in which everybody waits who has to.
func NewPool(size int64) *Pool { return &Pool{free: size, now: time.Now} }

// NewCrowd returns a pool of so much, in which a source that holds much does not wait but is refused: where all wait in one line,
// others must not wait behind it.
func NewCrowd(size int64) *Pool { return &Pool{free: size, now: time.Now, refuse: size / much} }

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
		return w.place, w.err
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
	if w.err == nil {
		w.place.leave()
	}
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
		l.kept, l.used, l.since = false, true, l.pool.now()
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
			gone := p.makeRoom(w.place.weight)
			evicted = append(evicted, gone...)
			if p.free+p.leaving >= w.place.weight {
				return evicted // they leave soon
			}
			if !p.refuses(w.place.source) {
				p.lookAgain()
				return evicted
			}
			w.err = errCrowded
		} else {
			p.give(w.place)
		}
		p.waiting = slices.Delete(p.waiting, i, i+1)
		close(w.given)
	}
	return evicted
}

func (p *Pool) give(l *Place) {
	p.free -= l.weight
	l.since = p.now()
	p.places = append(p.places, l)
}

// lookAgain has the pool settled once more when the next place is ripe.
func (p *Pool) lookAgain() {
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

// refuses reports whether the source holds so much that it does not wait for more.
func (p *Pool) refuses(source string) bool {
	return p.refuse > 0 && p.held(func(l *Place) bool { return !l.kept })[source] > p.refuse
}

// next returns who is next: whose source would hold least then, and of those who came last, because nobody waits for long for
// an answer. Who waits for nothing that comes must not keep others waiting.
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

// makeRoom marks places until so much will be free, or nothing is left that may go.
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

// victim returns what has to go first for a place of this weight, nil if nothing may.
func (p *Pool) victim(weight int64) *Place {
	may := func(l *Place) bool {
		return !l.kept && !l.evicted && (l.young() <= 0 || l.weight > dwarfed*weight)
	}
	held := p.held(may)
	var victim *Place
	for _, l := range p.places { // in the order in which they were given, or last worked with
		if may(l) && (victim == nil || l.before(victim, held)) {
			victim = l
		}
	}
	return victim
}

// young returns for how long the place is not to be taken away yet.
func (l *Place) young() time.Duration {
	age := l.pool.now().Sub(l.since)
	if l.used {
		return usedRipe - age
	}
	return ripe - age
}

// before reports whether a place has to go before another one that is older, by what their sources hold.
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
