// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// condition is something to wait for.
type condition struct {
	name string
	// met reports whether the condition is met, and in a few words what is missing; for a condition that is met, what
	// to report instead of its name. An error ends the waiting.
	met func(ctx context.Context) (done bool, missing string, err error)
	// explained: what is missing includes what the user can do about it.
	explained bool
}

func (c condition) advice() string {
	if c.explained {
		return ""
	}
	return "look at namespace " + manifests.Namespace + ", then "
}

// pollInterval is the pause before a condition is evaluated again.
const pollInterval = 500 * time.Millisecond

// await waits for each condition in turn until ctx ends.
func await(ctx context.Context, conditions []condition, progress Progress) error {
	for _, cond := range conditions {
		if err := awaitOne(ctx, cond, progress); err != nil {
			return err
		}
	}
	return nil
}

func awaitOne(ctx context.Context, cond condition, progress Progress) error {
	last := ""
	for {
		done, missing, err := cond.met(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("waiting until %s: %w", cond.name, err)
		case err == nil && done:
			progress("%s", cmp.Or(missing, cond.name))
			return nil
		case err == nil && missing != last && (last == "" || ctx.Err() == nil): // the last request may have been cut short
			progress("waiting until %s: %s", cond.name, missing)
			last = missing
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting until %s: %s; %srun the command again (it goes on where it stopped), "+
				"with a longer --timeout if need be", cond.name, last, cond.advice())
		case <-time.After(pollInterval):
		}
	}
}
