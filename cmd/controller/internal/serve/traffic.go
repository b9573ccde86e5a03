// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"net/http"
	"sync"
	"time"
)

// Traffic knows which requests are in work, and when the last one came.
type Traffic struct {
	next http.Handler
	now  func() time.Time

	mu       sync.Mutex
	draining bool
	last     time.Time // when the last request came or was answered
	running  map[int]time.Time
	count    int
}

// NewTraffic returns a handler in front of next.
func NewTraffic(next http.Handler, now func() time.Time) *Traffic {
	return &Traffic{next: next, now: now, last: now(), running: map[int]time.Time{}}
}

// ServeHTTP implements http.Handler.
func (t *Traffic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, draining := t.begin()
	defer t.end(id)
	if draining {
		// An API server keeps using a connection to the same replica. This makes it open another one.
		w.Header().Set("Connection", "close")
	}
	t.next.ServeHTTP(w, r)
}

func (t *Traffic) begin() (id int, draining bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	t.last = t.now()
	t.running[t.count] = t.last
	return t.count, t.draining
}

func (t *Traffic) end(id int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.running, id)
	t.last = t.now()
}

// Drain closes every connection after its next answer.
func (t *Traffic) Drain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining = true
}

// Quiet returns how long ago the last request was.
func (t *Traffic) Quiet() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.running) > 0 {
		return 0
	}
	return t.now().Sub(t.last)
}

// Oldest returns for how long the oldest request has been in work, or zero.
func (t *Traffic) Oldest() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var oldest time.Duration
	for _, since := range t.running {
		oldest = max(oldest, t.now().Sub(since))
	}
	return oldest
}
