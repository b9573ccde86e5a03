// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	progressAfter = time.Second            // shorter work does not show progress
	progressEvery = 200 * time.Millisecond // how often the line changes
)

// progress shows on a terminal how far long work is: one line on standard error, which it clears before anything else
// is written.
type progress struct {
	w       io.Writer // nil shows nothing
	started time.Time

	mu    sync.Mutex
	last  time.Time
	shown bool
}

func newProgress(e *env) *progress {
	p := &progress{started: time.Now()}
	if isTerminal(e.ErrOut) {
		p.w = e.ErrOut
	}
	return p
}

// count shows how many are done.
func (p *progress) count(n int) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	elapsed := now.Sub(p.started)
	if elapsed < progressAfter || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%d TaskRuns, %.0f a second", n, float64(n)/elapsed.Seconds())
}

// clear removes the line.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

func (p *progress) stop() { p.clear() }

// around returns a writer to w that clears the line before each write.
func (p *progress) around(w io.Writer) io.Writer {
	if p.w == nil || !isTerminal(w) {
		return w
	}
	return clearing{w: w, p: p}
}

type clearing struct {
	w io.Writer
	p *progress
}

func (c clearing) Write(data []byte) (int, error) {
	c.p.clear()
	return c.w.Write(data)
}
