// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// TestLeaving sweeps after the backend was left, also after a failure, and not for ever.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var registers atomic.Bool
		var sweeps atomic.Int32
		l := &leaving{
			registers: registers.Load, log: zap.NewNop().Sugar(),
			sweep: func(context.Context) error { sweeps.Add(1); return errors.New("not yet") },
		}
		at := func(what string, want int32) {
			t.Helper()
			synctest.Wait()
			if got := sweeps.Load(); got != want {
				t.Errorf("%s: expected %d sweeps, got %d", what, want, got)
			}
		}
		change := func(to bool) {
			registers.Store(to)
			l.changed(t.Context())
		}
		change(false)
		at("another backend from the beginning", 0)
		change(true)
		at("the backend", 0)
		change(false)
		at("just left", 1)
		l.changed(t.Context())
		time.Sleep(leavePause)
		at("after a failure, and another change", 2)
		time.Sleep(2 * leaveTime)
		end := sweeps.Load()
		if end < 2 || end > int32(leaveTime/leavePause)+1 {
			t.Errorf("expected it to end after %s, got %d sweeps", leaveTime, end)
		}
		change(true)
		change(false)
		at("left again", end+1)
		change(true)
		time.Sleep(leavePause)
		at("and back", end+1)
	})
}
