// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// refusalsRig is the reconciler in a cluster whose clock stands still.
type refusalsRig struct {
	t        *testing.T
	refusals *Refusals
	client   *fake.Clientset
	now      time.Time
	enforced bool
	counted  []bool
	names    int
}

func newRefusalsRig(t *testing.T, data map[string]string) *refusalsRig {
	t.Helper()
	rig := &refusalsRig{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	rig.client = fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: delivery.ConfigMapName}, Data: data,
	})
	view, err := delivery.NewView(rig.client, signerImage)
	if err != nil {
		t.Fatal(err)
	}
	rig.refusals = NewRefusals(RefusalsConfig{
		Client: rig.client, Image: signerImage,
		Wanted: func(namespace string) bool { return namespace == "ci" }, Enforced: func(string) bool { return rig.enforced },
		View: view, Store: delivery.NewStore(rig.client, view, delivery.Refusal, "test"),
		OnRefused: func(stopped bool) { rig.counted = append(rig.counted, stopped) },
		Recorder:  record.NewFakeRecorder(100), Now: func() time.Time { return rig.now }, Log: zap.NewNop().Sugar(),
	})
	rig.refusals.Start(&lockedKeys{})
	go view.Run(t.Context())
	rig.until(view.HasSynced)
	rig.until(func() bool { // the fake client loses what changes between a list and the watch
		return slices.ContainsFunc(rig.client.Actions(), func(a clienttesting.Action) bool {
			return a.Matches("watch", "configmaps")
		})
	})
	if err := rig.refusals.Promote(pkgreconciler.UniversalBucket(), nil); err != nil {
		t.Fatal(err)
	}
	return rig
}

// lockedKeys remembers what several goroutines put into the work queue.
type lockedKeys struct {
	mu   sync.Mutex
	keys keys
}

func (k *lockedKeys) EnqueueKey(key types.NamespacedName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys.EnqueueKey(key)
}

func (r *refusalsRig) until(seen func() bool) {
	r.t.Helper()
	err := wait.PollUntilContextTimeout(r.t.Context(), time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) { return seen(), nil })
	if err != nil {
		r.t.Fatal("not seen in time")
	}
}

// refuse has a TaskRun, that was made now, fail with these words.
func (r *refusalsRig) refuse(message string) {
	r.names++
	tr := startingRun("False", "PodCreationFailed", message)
	tr.SetName(fmt.Sprint("build-", r.names))
	tr.SetCreationTimestamp(metav1.NewTime(r.now))
	status := tr.Object["status"].(map[string]any) //nolint:forcetypeassert // made above
	delete(status, "podName")
	status["completionTime"] = r.now.UTC().Format(time.RFC3339)
	r.refusals.Seen(tr)
}

// later reconciles each second of a time, and returns once the view knows what was written.
func (r *refusalsRig) later(passed time.Duration) {
	r.t.Helper()
	for end := r.now.Add(passed); ; r.now = r.now.Add(time.Second) {
		if err := r.refusals.Reconcile(r.t.Context(), "ci"); err != nil {
			if again, _ := controller.IsRequeueKey(err); !again {
				r.t.Fatal(err)
			}
		}
		maps := r.client.CoreV1().ConfigMaps(settings.Namespace)
		cm, err := maps.Get(r.t.Context(), delivery.ConfigMapName, metav1.GetOptions{})
		if err != nil {
			r.t.Fatal(err)
		}
		want := delivery.Parse(cm.Data)
		r.until(func() bool {
			got := r.refusals.View.Table()
			return cmp.Equal(want.Entries(), got.Entries()) && cmp.Equal(want.Refused(), got.Refused())
		})
		if !r.now.Before(end) {
			return
		}
	}
}

// hears takes the mark away by which a trial is asked for, as the keeper does.
func (r *refusalsRig) hears() {
	r.t.Helper()
	if err := r.refusals.Store.ClearRequest(r.t.Context(), "ci"); err != nil {
		r.t.Fatal(err)
	}
	r.until(func() bool { return !r.asked() })
}

func (r *refusalsRig) asked() bool { return r.refusals.View.Table().AskedFor("ci") }

// reason returns why the namespace is left alone, empty if it is not.
func (r *refusalsRig) reason() string {
	e, _ := r.refusals.View.Table().Of("ci", delivery.Refusal)
	return e.Reason
}

// events returns the reasons of the events beside TaskRuns.
func (r *refusalsRig) events() (reasons []string) {
	r.t.Helper()
	list, err := r.client.CoreV1().Events("ci").List(r.t.Context(), metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range list.Items {
		reasons = append(reasons, e.Reason)
	}
	return reasons
}

// leftAlone is a rig whose namespace was left alone because of a policy.
func leftAlone(t *testing.T) *refusalsRig {
	t.Helper()
	rig := newRefusalsRig(t, nil)
	rig.refuse(deniedByPolicy)
	rig.later(trialAwaited)
	if rig.reason() == "" {
		t.Fatal("the namespace is not left alone")
	}
	return rig
}
