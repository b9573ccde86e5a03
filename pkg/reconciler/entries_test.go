// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/tools/record"
	pkgreconciler "knative.dev/pkg/reconciler"

	signingcluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
)

// registry is what TaskRuns are registered with. It holds until when, by namespace/name/UID.
type registry struct {
	signingcluster.NoopControllerClient

	now   func() time.Time
	until map[string]time.Time
	calls []string
	err   error
	// during is called while a TaskRun is registered; may be nil.
	during func()
}

func registryKey(tr *v1.TaskRun) string { return tr.Namespace + "/" + tr.Name + "/" + string(tr.UID) }

func (r *registry) CreateEntries(_ context.Context, tr *v1.TaskRun, _ *corev1.Pod, ttl time.Duration) error {
	r.calls = append(r.calls, "create "+string(tr.UID))
	if r.during != nil {
		r.during()
	}
	if r.err == nil {
		r.until[registryKey(tr)] = r.now().Add(ttl)
	}
	return r.err
}

func (r *registry) DeleteEntry(_ context.Context, tr *v1.TaskRun, _ *corev1.Pod) error {
	r.calls = append(r.calls, "delete "+string(tr.UID))
	if r.err == nil {
		delete(r.until, registryKey(tr))
	}
	return r.err
}

func (r *registry) ListEntries(_ context.Context, f func(signingcluster.Registered)) error {
	for key := range r.until {
		parts := strings.Split(key, "/")
		f(signingcluster.Registered{Namespace: parts[0], Name: parts[1], UID: types.UID(parts[2])})
	}
	return r.err
}

func (r *registry) Close() error { return nil }

// registering is an Entries with everything around it.
type registering struct {
	*Entries
	registry *registry
	taskRuns dynamic.NamespaceableResourceInterface
	queue    keys
	events   *record.FakeRecorder
	counted  []error
	now      time.Time
	wanted   bool
	offline  error // of the client
}

func newRegistering(t *testing.T) *registering {
	t.Helper()
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{tektonResource(TaskRuns): "TaskRunList"})
	r := &registering{
		taskRuns: client.Resource(tektonResource(TaskRuns)), events: record.NewFakeRecorder(20), wanted: true,
		now: time.Date(2026, 6, 2, 12, 0, 0, 0, time.UTC),
	}
	clock := func() time.Time { return r.now }
	r.registry = &registry{now: clock, until: map[string]time.Time{}}
	r.Entries = NewEntries(EntriesConfig{
		Dynamic: client, Client: func() (signingcluster.ControllerClient, error) { return r.registry, r.offline },
		Wanted:  func(string) bool { return r.wanted },
		OnEntry: func(err error) { r.counted = append(r.counted, err) }, Recorder: r.events, Now: clock,
		Log: zap.NewNop().Sugar(),
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing is swept but by the test
	r.Start(ctx, &r.queue)
	r.lead(t)
	return r
}

func (r *registering) lead(t *testing.T) {
	t.Helper()
	if err := r.Promote(pkgreconciler.UniversalBucket(), nil); err != nil {
		t.Fatal(err)
	}
}

// registrable is a TaskRun that runs.
func registrable(name, uid string, spec map[string]any) *unstructured.Unstructured {
	if spec == nil {
		spec = map[string]any{"timeout": "30m"}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "spec": spec,
		"metadata": map[string]any{"namespace": "ci", "name": name, "uid": uid},
	}}
}

// ended returns a copy that is done.
func ended(taskRun *unstructured.Unstructured) *unstructured.Unstructured {
	done := taskRun.DeepCopy()
	done.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Succeeded", "status": "True"}}}
	return done
}

// put stores a TaskRun, as the API server has it.
func (r *registering) put(t *testing.T, taskRun *unstructured.Unstructured) {
	t.Helper()
	client := r.taskRuns.Namespace(taskRun.GetNamespace())
	_ = client.Delete(t.Context(), taskRun.GetName(), metav1.DeleteOptions{}) // if it is there
	if _, err := client.Create(t.Context(), taskRun, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// see shows a TaskRun to the reconciler, and works on the queue.
func (r *registering) see(t *testing.T, taskRun *unstructured.Unstructured) error {
	t.Helper()
	r.put(t, taskRun)
	r.Seen(taskRun)
	return r.work(t)
}

func (r *registering) work(t *testing.T) error {
	t.Helper()
	queue := r.queue
	r.queue = nil
	var errs []error
	for _, key := range queue {
		errs = append(errs, r.Reconcile(t.Context(), key.String()))
	}
	return errors.Join(errs...)
}

// want wants these calls since the last time, and these registrations.
func (r *registering) want(t *testing.T, what string, calls []string, until map[string]string) {
	t.Helper()
	got := map[string]string{}
	for key, at := range r.registry.until {
		got[key] = at.Format(time.TimeOnly)
	}
	if diff := cmp.Diff(calls, r.registry.calls); diff != "" {
		t.Errorf("%s: calls (-want +got):\n%s", what, diff)
	}
	if diff := cmp.Diff(until, got); diff != "" {
		t.Errorf("%s: registered (-want +got):\n%s", what, diff)
	}
	r.registry.calls = nil
}

func (r *registering) mustSee(t *testing.T, taskRun *unstructured.Unstructured) {
	t.Helper()
	if err := r.see(t, taskRun); err != nil {
		t.Fatal(err)
	}
}

// TestEntriesOfTaskRun: a TaskRun is registered once while it runs, and no more when it is done.
func TestEntriesOfTaskRun(t *testing.T) {
	r := newRegistering(t)
	build := registrable("build", "u1", nil)
	none := map[string]string{}
	r.mustSee(t, build)
	r.want(t, "seen", []string{"create u1"}, map[string]string{"ci/build/u1": "13:30:00"})
	r.mustSee(t, build)
	r.want(t, "seen again", nil, map[string]string{"ci/build/u1": "13:30:00"})
	r.mustSee(t, ended(build))
	r.want(t, "done", []string{"delete u1"}, none)
	r.mustSee(t, ended(build))
	r.want(t, "done, and seen again", nil, none)
	r.mustSee(t, ended(registrable("old", "u2", nil)))
	r.want(t, "done before it was seen", nil, none)
	if slices.ContainsFunc(r.counted, func(err error) bool { return err != nil }) || len(r.counted) != 2 {
		t.Errorf("expected two successes to be counted, got %v", r.counted)
	}
}

// TestEntriesRegister tells which TaskRuns are registered, and for how long.
func TestEntriesRegister(t *testing.T) {
	for name, tc := range map[string]struct {
		spec     map[string]any
		unwanted bool
		fails    bool
		want     string // until when; empty: not registered
	}{
		"a timeout":             {spec: map[string]any{"timeout": "10m"}, want: "13:10:00"},
		"no timeout":            {spec: map[string]any{}, want: "13:00:00"}, // of the day after
		"unlimited":             {spec: map[string]any{"timeout": "0s"}, want: "13:00:00"},
		"a very long timeout":   {spec: map[string]any{"timeout": "100h"}, want: "13:00:00"},
		"not wanted":            {unwanted: true},
		"of another controller": {spec: map[string]any{"managedBy": "example.com/other"}},
		"of Tekton, by its name": {
			spec: map[string]any{"managedBy": "tekton.dev/pipeline", "timeout": "1h"}, want: "14:00:00",
		},
		"what is not a string":  {spec: map[string]any{"managedBy": int64(3)}, fails: true},
		"what is not a timeout": {spec: map[string]any{"timeout": "soon"}, fails: true},
		"a service account or not": {
			spec: map[string]any{"serviceAccountName": "builder", "timeout": "0h"}, want: "13:00:00",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistering(t)
			r.wanted = !tc.unwanted
			err := r.see(t, registrable("build", "u1", tc.spec))
			if tc.fails != (err != nil) {
				t.Errorf("error: got %v, want one: %t", err, tc.fails)
			}
			got := ""
			if until, ok := r.registry.until["ci/build/u1"]; ok {
				got = until.Format(time.TimeOnly)
			}
			if got != tc.want {
				t.Errorf("registered until %q, want %q", got, tc.want)
			}
		})
	}
}

// TestEntriesDeleted: the registration ends with the TaskRun.
func TestEntriesDeleted(t *testing.T) {
	r := newRegistering(t)
	build := registrable("build", "u1", nil)
	r.mustSee(t, build)
	if err := r.taskRuns.Namespace("ci").Delete(t.Context(), "build", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.Gone(registrable("other", "u9", nil)) // never registered
	r.Gone(build)
	if err := r.work(t); err != nil {
		t.Fatal(err)
	}
	r.want(t, "deleted", []string{"create u1", "delete u1"}, map[string]string{})
}

// TestEntriesRecreated: another TaskRun of the same name is another registration.
func TestEntriesRecreated(t *testing.T) {
	for name, tc := range map[string]struct {
		next  *unstructured.Unstructured
		calls []string
		want  map[string]string
	}{
		"runs": {
			registrable("build", "u2", nil), []string{"create u1", "delete u1", "create u2"},
			map[string]string{"ci/build/u2": "13:30:00"},
		},
		"done": {ended(registrable("build", "u2", nil)), []string{"create u1", "delete u1"}, map[string]string{}},
		"of another controller": {
			registrable("build", "u2", map[string]any{"managedBy": "example.com/other"}),
			[]string{"create u1", "delete u1"}, map[string]string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistering(t)
			r.mustSee(t, registrable("build", "u1", nil))
			r.mustSee(t, tc.next)
			r.want(t, "recreated", tc.calls, tc.want)
		})
	}
}

// TestEntriesExtended: a TaskRun that runs for long is registered again before the registration ends.
func TestEntriesExtended(t *testing.T) {
	r := newRegistering(t)
	build := registrable("build", "u1", nil)
	r.mustSee(t, build)
	r.now = r.now.Add(59 * time.Minute)
	r.mustSee(t, build)
	r.want(t, "31 minutes before the end", []string{"create u1"}, map[string]string{"ci/build/u1": "13:30:00"})
	r.now = r.now.Add(time.Minute)
	r.mustSee(t, build)
	r.want(t, "30 minutes before the end", []string{"create u1"}, map[string]string{"ci/build/u1": "14:30:00"})
}

// TestEntriesNotWanted: what was registered ends in time after the backend was changed.
func TestEntriesNotWanted(t *testing.T) {
	r := newRegistering(t)
	build := registrable("build", "u1", nil)
	r.mustSee(t, build)
	r.wanted = false
	r.mustSee(t, build)
	r.want(t, "still running", []string{"create u1"}, map[string]string{"ci/build/u1": "13:30:00"})
	r.mustSee(t, ended(build))
	r.want(t, "done", []string{"delete u1"}, map[string]string{})
}
