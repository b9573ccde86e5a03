// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// After the settings have left a backend that registers TaskRuns, each replica ends the registrations of TaskRuns that
// are done: soon, because the new pods of the add-on no longer have the identity that this takes.
const leavePause, leaveTime = 3 * time.Second, 2 * time.Minute

// leaving is called after every change of the settings.
type leaving struct {
	registers func() bool                 // by the settings of now
	sweep     func(context.Context) error // ends registrations of TaskRuns that are done
	log       *zap.SugaredLogger
	did       atomic.Bool
}

// changed sweeps for a while if the settings have just left the backend, until ctx ends. It does not block.
func (l *leaving) changed(ctx context.Context) {
	now := l.registers()
	if did := l.did.Swap(now); did && !now {
		go l.run(ctx)
	}
}

func (l *leaving) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	for ctx.Err() == nil && !l.registers() {
		if err := l.sweep(ctx); err != nil && ctx.Err() == nil {
			l.log.Warnw("ending the registrations of TaskRuns that are done, because the backend was left", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(leavePause):
		}
	}
}
