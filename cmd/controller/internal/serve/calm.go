// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"log"
	"sync"
	"time"
)

// calmLines is how many lines of the server's own log are written each minute. Every broken connection causes a
// line, and anyone who reaches the port can cause many.
const calmLines = 20

// calm limits the lines of a log.
type calm struct {
	next *log.Logger
	now  func() time.Time

	mu    sync.Mutex
	since time.Time
	lines int
}

// calmed returns a logger that passes a limited number of lines to next.
func calmed(next *log.Logger, now func() time.Time) *log.Logger {
	return log.New(&calm{next: next, now: now}, "", 0)
}

// Write implements io.Writer for a logger, which writes a line at a time.
func (c *calm) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.since) >= time.Minute {
		if left := c.lines - calmLines; left > 0 {
			c.next.Printf("%d more lines of the server were left out", left)
		}
		c.since, c.lines = now, 0
	}
	c.lines++
	if c.lines <= calmLines {
		c.next.Print(string(line))
	}
	return len(line), nil
}
