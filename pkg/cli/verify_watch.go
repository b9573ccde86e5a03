// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs"
)

// watchEvery is how often the cluster is asked for what is still running.
const watchEvery = 2 * time.Second

// watcher shows each TaskRun once, when it is done.
type watcher struct {
	v     *runs.Verifier
	t     *tally
	shown map[types.UID]bool
	said  map[string]bool // errors and notes that were shown
	lost  bool            // the cluster did not answer in this round
	waits bool            // a message about that was shown
}

// follow lists all selected TaskRuns again and again until every one is done. So it survives a lost connection and a
// restart of the API server.
func (e *env) follow(ctx context.Context, selected runs.Selection, v *runs.Verifier, t *tally) error {
	w := &watcher{v: v, t: t, shown: map[types.UID]bool{}, said: map[string]bool{}}
	for first := true; ; first = false {
		running := 0
		w.lost = false
		for s := range selected.FromCluster(ctx, e.cluster()) {
			still, err := w.see(ctx, s, first)
			if err != nil {
				return err
			}
			running += still
		}
		if running == 0 && !w.lost || ctx.Err() != nil {
			return nil
		}
		w.waits = w.waits && w.lost
		if first && isTerminal(e.ErrOut) {
			fmt.Fprintf(e.ErrOut, "waiting for what is still running: %d\n", running)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// see shows a subject once, when it is done. It returns 1 if the subject is still running.
func (w *watcher) see(ctx context.Context, s runs.Subject, first bool) (running int, _ error) {
	if s.Running {
		return 1, nil
	}
	if s.PipelineRun != nil {
		return 0, w.seeRun(ctx, s)
	}
	if s.Note != "" {
		return 0, w.once(s.Note, runs.Finding{Note: s.Note})
	}
	tr, err := s.Read()
	if ctx.Err() != nil {
		return 0, nil
	}
	switch {
	case err != nil && !first && isPassing(err):
		w.wait(err)
		return 0, nil
	case err != nil:
		return 0, w.once(err.Error(), runs.Finding{Place: s.Place, Err: fmt.Errorf("%s%w", s.Prefix(), err)})
	case w.shown[tr.UID]:
		return 0, nil
	}
	if !isDone(tr) {
		return 1, nil
	}
	w.shown[tr.UID] = true
	return 0, w.t.add(w.v.Verify(ctx, s))
}

// seeRun shows a PipelineRun once, when it is done with all that it ran.
func (w *watcher) seeRun(ctx context.Context, s runs.Subject) error {
	uid := s.PipelineRun.UID()
	if w.shown[uid] || s.PipelineRun.Waits() || w.lost {
		return nil
	}
	w.shown[uid] = true
	return w.t.add(w.v.Verify(ctx, s))
}

// once adds a finding unless its text was shown before.
func (w *watcher) once(text string, f runs.Finding) error {
	if w.said[text] {
		return nil
	}
	w.said[text] = true
	return w.t.add(f)
}

// wait shows once that the cluster does not answer. The watch goes on.
func (w *watcher) wait(err error) {
	if !w.waits {
		fmt.Fprintf(w.t.e.ErrOut, "waiting for the cluster: %s\n", display.Short(err.Error(), maxErrorText))
	}
	w.lost, w.waits = true, true
}

// isPassing reports whether an error can go away by itself, for example when an API server has restarted.
func isPassing(err error) bool {
	return kubeclient.IsNetworkError(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err)
}

func isDone(tr *v1.TaskRun) bool {
	return !tr.Status.GetCondition(apis.ConditionSucceeded).IsUnknown()
}
