// SPDX-License-Identifier: Apache-2.0

// Package bulk runs work over many inputs on all cores, with bounded memory and in the order of the inputs.
package bulk

import (
	"context"
	"iter"
)

// ahead is how many inputs for each worker may be read before the oldest outcome is taken. Reading ahead
// keeps the workers busy while one input takes longer than the others.
const ahead = 8

// Ordered calls work for every input, with the given number of workers, and returns the outcomes in the order
// of the inputs. It holds at most workers × 8 inputs at any time. It reads the inputs in another goroutine
// than the caller's.
//
// When ctx ends, Ordered returns the outcomes that are done without a gap from the beginning. It does not
// wait for the rest, nor for an input that blocks.
func Ordered[In, Out any](
	ctx context.Context, inputs iter.Seq[In], workers int, work func(context.Context, In) Out,
) iter.Seq[Out] {
	return func(yield func(Out) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		jobs, queue := dispatch[In, Out](ctx, inputs, workers)
		for range workers {
			go func() {
				for j := range jobs {
					j.out <- work(ctx, j.in)
				}
			}()
		}
		collect(ctx, queue, yield)
	}
}

// job is an input on its way and the place where its outcome goes.
type job[In, Out any] struct {
	in  In
	out chan Out // room for one, so that no worker waits for the collector
}

// dispatch hands every input to the workers and, in the same order, to the collector.
func dispatch[In, Out any](
	ctx context.Context, inputs iter.Seq[In], workers int,
) (<-chan job[In, Out], <-chan job[In, Out]) {
	jobs, queue := make(chan job[In, Out], workers*ahead), make(chan job[In, Out], workers*ahead)
	go func() {
		defer close(queue)
		defer close(jobs)
		for in := range inputs {
			j := job[In, Out]{in: in, out: make(chan Out, 1)}
			for _, to := range []chan<- job[In, Out]{queue, jobs} {
				select {
				case to <- j:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return jobs, queue
}

// collect yields the outcomes in order. Once ctx has ended it takes only what is there already.
func collect[In, Out any](ctx context.Context, queue <-chan job[In, Out], yield func(Out) bool) {
	for {
		var j job[In, Out]
		var open bool
		select {
		case j, open = <-queue:
		case <-ctx.Done():
			select {
			case j, open = <-queue:
			default:
			}
		}
		if !open {
			return
		}
		var out Out
		select {
		case out = <-j.out:
		case <-ctx.Done():
			select {
			case out = <-j.out:
			default:
				return
			}
		}
		if !yield(out) {
			return
		}
	}
}
