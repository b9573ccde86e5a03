// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// crowd takes places of a pool and notes who had to go.
type crowd struct {
	t       *testing.T
	pool    *Pool
	now     time.Time
	evicted []string
	places  map[string]*Place
}

func newCrowd(t *testing.T, size int64) *crowd {
	c := &crowd{t: t, pool: NewPool(size), places: map[string]*Place{}, now: time.Unix(1000, 0)}
	c.pool.now = func() time.Time { return c.now }
	return c
}

// take takes a place for a name that begins with its source.
func (c *crowd) take(name string, weight int64) *Place {
	c.t.Helper()
	source, _, _ := strings.Cut(name, "-")
	place, err := c.pool.Take(c.t.Context(), source, weight, func() {
		c.evicted = append(c.evicted, name)
		c.places[name].Leave()
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.places[name] = place
	c.now = c.now.Add(ripe)
	return place
}

func (c *crowd) want(evicted ...string) {
	c.t.Helper()
	if !slices.Equal(c.evicted, evicted) {
		c.t.Errorf("evicted %v, want %v", c.evicted, evicted)
	}
}

func TestPoolEvictsTheOldestOfWhoHasMost(t *testing.T) {
	c := newCrowd(t, 6)
	c.take("honest-1", 1)
	c.take("hostile-1", 1)
	c.take("hostile-2", 1)
	c.take("hostile-3", 1)
	c.take("other-1", 1)
	c.take("hostile-4", 1)
	c.want()
	c.take("honest-2", 1)
	c.want("hostile-1")
	c.take("honest-3", 2)
	c.want("hostile-1", "hostile-2", "honest-1") // then honest holds most
	c.take("hostile-5", 1)
	c.want("hostile-1", "hostile-2", "honest-1", "honest-2")
}

func TestPoolKeepsWhatIsWorkedWith(t *testing.T) {
	c := newCrowd(t, 3)
	for _, name := range []string{"a-1", "a-2", "b-1"} {
		if err := c.take(name, 1).Keep(); err != nil {
			t.Fatal(err)
		}
	}
	c.places["a-1"].Release()
	c.now = c.now.Add(ripe)
	c.take("b-2", 1)
	c.want("a-1")
	if !c.places["a-1"].Evicted() || c.places["a-1"].Keep() == nil {
		t.Error("a place that was taken away is kept")
	}
	c.places["b-2"].Leave()
	c.places["b-2"].Leave()
	c.places["a-2"].Release()
	c.take("a-3", 1)
	c.want("a-1")
	if c.pool.free != 0 || c.pool.leaving != 0 || len(c.pool.places) != 3 {
		t.Errorf("pool %+v", c.pool)
	}
}

// TestPoolRenewsWhatWasWorkedWith lets a caller that uses its connection keep it.
func TestPoolRenewsWhatWasWorkedWith(t *testing.T) {
	c := newCrowd(t, 2)
	old := c.take("a-1", 1)
	c.take("a-2", 1)
	if err := old.Keep(); err != nil {
		t.Fatal(err)
	}
	old.Release()
	c.take("a-3", 1)
	c.want("a-2")
}

func TestPoolServesWhoHoldsLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(4)
		var held []*Place
		for range 4 {
			place, err := pool.Take(t.Context(), "greedy", 1, func() { t.Error("evicted") })
			if err != nil || place.Keep() != nil {
				t.Fatal("no place")
			}
			held = append(held, place)
		}
		var order []string
		take := func(source string, weight int64) {
			go func() {
				if _, err := pool.Take(t.Context(), source, weight, func() {}); err == nil {
					order = append(order, source)
				}
			}()
			synctest.Wait()
		}
		take("greedy", 1)
		take("b", 2)
		take("c", 1)
		cancelled, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := pool.Take(cancelled, "d", 1, func() {}); err == nil {
				t.Error("a place for who is gone")
			}
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		for _, place := range held {
			place.Leave()
			synctest.Wait()
		}
		if want := []string{"c", "b", "greedy"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if len(pool.waiting) != 0 || pool.free != 0 {
			t.Errorf("pool %+v", pool)
		}
	})
}

// TestPoolSparesTheYoung lets what has just come go on, but for what is much larger.
func TestPoolSparesTheYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(100)
		evicted := map[string]time.Duration{}
		start := time.Now()
		take := func(source string, weight int64) {
			var place *Place
			place, err := pool.Take(t.Context(), source, weight, func() {
				evicted[source] = time.Since(start)
				go place.Leave()
			})
			if err != nil {
				t.Error(err)
			}
		}
		take("large", 60)
		take("honest", 40)
		go take("as large", 50)
		synctest.Wait()
		if len(evicted) != 0 {
			t.Errorf("evicted %v", evicted)
		}
		go take("smaller", 20)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := evicted["large"]; got < ripe || got > ripe+10*time.Millisecond {
			t.Errorf("evicted %v, want large after %v", evicted, ripe)
		}
	})
}

func TestPoolEvictsWhatIsMuchLarger(t *testing.T) {
	c := newCrowd(t, 100)
	c.take("large-1", 60)
	c.take("large-2", 40)
	c.now = c.now.Add(-2 * ripe)
	c.take("small-1", 1)
	c.want("large-1")
}

// TestCrowdRefusesWhoHasMost keeps a flood from one address out while another one waits.
func TestCrowdRefusesWhoHasMost(t *testing.T) {
	c := newCrowd(t, 3)
	c.pool.refuse = 1
	c.take("flood-1", 1)
	c.take("flood-2", 1)
	c.take("other-1", 1)
	c.now = c.now.Add(-4 * ripe) // all of them are young
	if _, err := c.pool.Take(t.Context(), "flood", 1, func() {}); !errors.Is(err, errCrowded) {
		t.Errorf("got %v, want %v", err, errCrowded)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.pool.Take(ctx, "honest", 1, func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want to wait until the end", err)
	}
	c.want()
	c.now = c.now.Add(10 * ripe)
	c.take("honest-1", 1)
	c.want("flood-1")
}
