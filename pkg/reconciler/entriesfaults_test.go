// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"
)

// TestEntriesFail: an error is reported, counted, and returned, so that the work is tried again.
func TestEntriesFail(t *testing.T) {
	build := registrable("build", "u1", nil)
	for name, tc := range map[string]struct {
		fail func(*registering)
		mend func(*registering)
	}{
		"the server": {
			func(r *registering) { r.registry.err = errors.New("no\x1b server") },
			func(r *registering) { r.registry.err = nil },
		},
		"the client": {
			func(r *registering) { r.offline = errors.New("no\x1b server") }, func(r *registering) { r.offline = nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistering(t)
			for what, tr := range map[string]*unstructured.Unstructured{"registering": build, "ending": ended(build)} {
				if what == "ending" {
					r.mustSee(t, build)
				}
				r.now = r.now.Add(time.Hour)
				tc.fail(r)
				err := r.see(t, tr)
				if err == nil || controller.IsPermanentError(err) {
					t.Errorf("%s: expected an error that is tried again, got %v", what, err)
				}
				event := <-r.events.Events
				if !strings.HasPrefix(event, "Warning TaskRunNotRegistered no") || strings.Contains(event, "\x1b") {
					t.Errorf("%s: got event %q", what, event)
				}
				if last := r.counted[len(r.counted)-1]; last == nil {
					t.Errorf("%s: the failure was not counted", what)
				}
				tc.mend(r)
				if err := r.Reconcile(t.Context(), "ci/build"); err != nil {
					t.Errorf("%s again: %v", what, err)
				}
				if _, ok := r.registry.until["ci/build/u1"]; ok != (what == "registering") {
					t.Errorf("%s again: registered: %t", what, ok)
				}
				r.forget()
			}
		})
	}
}

// TestEntriesNews: an error that stays the same is shown now and then, and another one at once.
func TestEntriesNews(t *testing.T) {
	r := newRegistering(t)
	r.put(t, registrable("build", "u1", nil))
	for i, tc := range []struct {
		err   string
		later time.Duration
		want  int // events
	}{{"a", 0, 1}, {"a", time.Minute, 0}, {"b", 0, 1}, {"b", 4 * time.Minute, 0}, {"b", time.Minute, 1}, {"a", 0, 1}} {
		r.now = r.now.Add(tc.later)
		r.registry.err = errors.New(tc.err)
		if err := r.Reconcile(t.Context(), "ci/build"); err == nil {
			t.Errorf("%d: expected the error", i)
		}
		if got := len(r.events.Events); got != tc.want {
			t.Errorf("%d: got %d events, want %d", i, got, tc.want)
		}
		for range len(r.events.Events) {
			<-r.events.Events
		}
	}
}

// TestEntriesSweep: after a crash, what is left of TaskRuns that are done or gone is found, and nothing else is ended.
func TestEntriesSweep(t *testing.T) {
	r := newRegistering(t)
	running, done := registrable("running", "u1", nil), registrable("done", "u2", nil)
	recreated := registrable("again", "u3", nil)
	for _, tr := range []*unstructured.Unstructured{running, done, recreated, registrable("gone", "u4", nil)} {
		r.mustSee(t, tr)
	}
	r.registry.calls = nil
	r.forget() // as after a crash
	r.put(t, ended(done))
	r.put(t, registrable("again", "u5", nil))
	if err := r.taskRuns.Namespace("ci").Delete(t.Context(), "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(r.registry.calls)
	r.want(t, "swept", []string{"delete u2", "delete u3", "delete u4"}, map[string]string{"ci/running/u1": "13:30:00"})

	r.mustSee(t, running)
	r.registry.calls = nil
	delete(r.registry.until, "ci/running/u1") // by hand
	if err := errors.Join(r.Sweep(t.Context()), r.work(t)); err != nil {
		t.Fatal(err)
	}
	r.want(t, "deleted by hand", []string{"create u1"}, map[string]string{"ci/running/u1": "13:30:00"})

	r.registry.err = errors.New("no server")
	if err := r.Sweep(t.Context()); err == nil {
		t.Error("expected the error of the server")
	}
	r.registry.err, r.offline = nil, errors.New("no client")
	if err := r.Sweep(t.Context()); err == nil {
		t.Error("expected the error of the client")
	}
}

// TestEntriesSweepUnseen: a TaskRun that was deleted while nobody watched does not stay registered. It is no longer
// seen when all TaskRuns are listed. One that is seen costs no request.
func TestEntriesSweepUnseen(t *testing.T) {
	r := newRegistering(t)
	running := registrable("running", "u1", map[string]any{"timeout": "10h"})
	r.mustSee(t, running)
	r.mustSee(t, registrable("gone", "u2", map[string]any{"timeout": "10h"}))
	if err := r.taskRuns.Namespace("ci").Delete(t.Context(), "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.registry.calls = nil
	for range 2 {
		r.now = r.now.Add(feedResync)
		r.mustSee(t, running)
		if err := errors.Join(r.Sweep(t.Context()), r.work(t)); err != nil {
			t.Fatal(err)
		}
	}
	r.want(t, "swept", []string{"delete u2"}, map[string]string{"ci/running/u1": "23:00:00"})
}

// TestEntriesLeader: only the leader registers; one that leads again begins anew.
func TestEntriesLeader(t *testing.T) {
	r := newRegistering(t)
	build := registrable("build", "u1", nil)
	r.mustSee(t, build)
	r.Demote(pkgreconciler.UniversalBucket())
	r.put(t, ended(build))
	if err := r.Reconcile(t.Context(), "ci/build"); !controller.IsSkipKey(err) {
		t.Errorf("expected the key to be skipped, got %v", err)
	}
	r.want(t, "another replica leads", []string{"create u1"}, map[string]string{"ci/build/u1": "13:30:00"})
	if err := r.Promote(pkgreconciler.UniversalBucket(), func(pkgreconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	if r.has(types.NamespacedName{Namespace: "ci", Name: "build"}) {
		t.Error("expected a new leader to know nothing")
	}
	if err := r.Reconcile(t.Context(), "a/b/c"); !controller.IsPermanentError(err) {
		t.Errorf("expected a key that cannot be to be given up, got %v", err)
	}
}

// TestEntriesEndDuringRegistration: a TaskRun that ends while the backend registers it is not registered for long.
func TestEntriesEndDuringRegistration(t *testing.T) {
	r := newRegistering(t)
	build := registrable("build", "u1", nil)
	r.put(t, build)
	r.registry.during = func() {
		r.put(t, ended(build))
		r.Seen(ended(build))
	}
	if err := r.Reconcile(t.Context(), "ci/build"); err != nil {
		t.Fatal(err)
	}
	r.registry.during = nil
	if err := r.work(t); err != nil {
		t.Fatal(err)
	}
	r.want(t, "done meanwhile", []string{"create u1", "delete u1"}, map[string]string{})
}
