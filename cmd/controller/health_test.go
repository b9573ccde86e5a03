// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

// TestAlive looks at a process that works, and at those that do not.
func TestAlive(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for name, tt := range map[string]struct {
		request, work time.Duration
		look          func()
		alive         bool
	}{
		"idle":             {look: func() {}, alive: true},
		"slow API server":  {request: 15 * time.Second, work: 2 * time.Minute, look: func() {}, alive: true},
		"stuck request":    {request: 2 * time.Minute, look: func() {}},
		"stuck reconciler": {work: 11 * time.Minute, look: func() {}},
		"stuck lock":       {look: func() { <-release }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := alive(tt.request, tt.work, tt.look); (err == nil) != tt.alive {
				t.Errorf("alive: expected %v, got %v", tt.alive, err)
			}
		})
	}
}
