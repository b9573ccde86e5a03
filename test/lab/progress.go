// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows what is being done and how long it took: one line for each finished step, and on a terminal a line
// that counts the seconds of the current step.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
}

func newProgress(out io.Writer) *progress {
	file, ok := out.(*os.File)
	return &progress{out: out, terminal: ok && term.IsTerminal(int(file.Fd()))}
}

// say prints a line.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
	_, _ = fmt.Fprintf(p.out, format+"\n", args...)
}

// begin announces a step and returns the function that ends it. Steps can overlap.
func (p *progress) begin(what string) (end func(result string)) {
	started, done := time.Now(), make(chan struct{})
	if p.terminal {
		go p.count(what, started, done)
	}
	return func(result string) {
		close(done)
		p.say("  %-44s %-9s %6.1fs", what, result, time.Since(started).Seconds())
	}
}

func (p *progress) count(what string, started time.Time, done <-chan struct{}) {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticks.C:
			p.mu.Lock()
			_, _ = fmt.Fprintf(p.out, "\r\x1b[K  %-44s ... %.0fs", what, time.Since(started).Seconds())
			p.mu.Unlock()
		}
	}
}

// run runs do as a step.
func (p *progress) run(what string, do func() error) error {
	end := p.begin(what)
	if err := do(); err != nil {
		end("failed")
		return err
	}
	end("ok")
	return nil
}
