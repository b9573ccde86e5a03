// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// newStore returns a store of trials with a view that has seen data.
func newStore(t *testing.T, data map[string]string) (*Store, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: ConfigMapName}, Data: data,
	})
	view, err := NewView(client, image)
	if err != nil {
		t.Fatal(err)
	}
	go view.Run(t.Context())
	store := NewStore(client, view, Trial, "test")
	eventually(t, store, func() bool { return view.HasSynced() && len(view.data()) == len(data) })
	return store, client
}

func eventually(t *testing.T, s *Store, seen func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) { return seen(), nil })
	if err != nil {
		t.Fatalf("not seen: %v", s.view.data())
	}
}

// writes counts the patches so far.
func writes(client *fake.Clientset) (n int) {
	for _, a := range client.Actions() {
		if a.GetVerb() == "patch" {
			n++
		}
	}
	return n
}

func TestStore(t *testing.T) {
	start := encoded(t, Exception{Delivery: None, Reason: "start", Image: image, Since: since})
	s, client := newStore(t, map[string]string{"a.start": start})
	e := Exception{Delivery: settings.DeliveryInit, Reason: "refused", Since: since}
	if err := s.Set(t.Context(), "a", e); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, func() bool { _, ok := s.view.Table().Of("a", Trial); return ok })
	if got, _ := s.view.For("a"); got.Source != Start {
		t.Errorf("expected that none wins, got %+v", got)
	}
	e.Since = since.Add(time.Hour)
	if err := s.Set(t.Context(), "a", e); err != nil || writes(client) != 1 {
		t.Errorf("expected the same not to be written again, got %d writes, error %v", writes(client), err)
	}
	if err := s.Clear(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, func() bool { return len(s.view.data()) == 1 })
	if diff := cmp.Diff(map[string]string{"a.start": start}, s.view.data()); diff != "" {
		t.Error(diff)
	}
	if err := s.Clear(t.Context(), "a"); err != nil || writes(client) != 2 {
		t.Errorf("expected nothing to be cleared, got %d writes, error %v", writes(client), err)
	}
}

func TestAskForTrial(t *testing.T) {
	s, client := newStore(t, nil)
	for range 2 {
		if err := s.AskForTrial(t.Context(), "a", since); err != nil {
			t.Fatal(err)
		}
		eventually(t, s, func() bool { return len(s.view.data()) == 1 })
	}
	if diff := cmp.Diff([]string{"a"}, s.view.Table().Refused()); diff != "" || writes(client) != 1 {
		t.Errorf("%d writes: %s", writes(client), diff)
	}
	if err := s.ClearRequest(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, func() bool { return len(s.view.data()) == 0 })
}

func TestStoreFull(t *testing.T) {
	data := map[string]string{"of-another.start": strings.Repeat("x", maxSize),
		"full.trial": strings.Repeat("x", maxSize-1000)}
	s, _ := newStore(t, data)
	e := Exception{Delivery: None, Reason: strings.Repeat("x", MaxReason), Since: since}
	for i := range 10 {
		namespace := string(rune('a' + i))
		err := s.Set(t.Context(), namespace, e)
		if errors.Is(err, ErrFull) {
			if i < 2 {
				t.Errorf("full after %d", i)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, s, func() bool { _, ok := s.view.Table().Of(namespace, Trial); return ok })
	}
	t.Error("it never got full")
}

// TestShares checks that neither the exceptions of one writer nor the requests for trials take the room of
// another, even with many namespaces.
func TestShares(t *testing.T) {
	if total := 2*maxSize + maxOnce + maxMarks; total >= 1<<20 {
		t.Errorf("all together may take %d bytes, more than an object may have", total)
	}
	e := Exception{Delivery: None, Reason: strings.Repeat("x", MaxReason), Since: since}
	full := func(last string, n int) map[string]string {
		return map[string]string{"full." + last: strings.Repeat("x", n-100)}
	}
	for name, tc := range map[string]struct {
		data     map[string]string
		source   Source
		set, ask bool
	}{
		"starts take the room of refusals":    {full("start", maxSize), Refusal, false, true},
		"refusals take that of starts":        {full("refusal", maxSize), Start, false, true},
		"mounts take that of starts":          {full("mount", maxSize), Start, false, true},
		"trials do not":                       {full("trial", maxSize), Refusal, true, true},
		"nor do marks":                        {full("refused", maxMarks), Refusal, true, false},
		"nor do those of TaskRuns":            {full("u.once", maxOnce), Refusal, true, true},
		"refusals do not take that of trials": {full("refusal", maxSize), Trial, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t, tc.data)
			s.source = tc.source
			namespace := strings.Repeat("n", 63)
			if err := s.Set(t.Context(), namespace, e); errors.Is(err, ErrFull) == tc.set {
				t.Errorf("setting: %v", err)
			}
			if err := s.AskForTrial(t.Context(), namespace, since); errors.Is(err, ErrFull) == tc.ask {
				t.Errorf("asking: %v", err)
			}
		})
	}
}

// TestStoreTaskRuns: exceptions of TaskRuns come and go one by one, and no namespace takes the room of the others.
func TestStoreTaskRuns(t *testing.T) {
	e := Exception{Delivery: None, Reason: "r", Since: since, TaskRun: "u"}
	many := map[string]string{}
	for i := range maxOnceIn {
		many[fmt.Sprintf("many.u-%d.once", i)] = encoded(t, Exception{Delivery: None, Image: image, Since: since})
	}
	s, _ := newStore(t, many)
	s.source = Once
	if err := s.Set(t.Context(), "many", e); !errors.Is(err, ErrFull) {
		t.Errorf("one namespace gets more than %d: %v", maxOnceIn, err)
	}
	if err := s.Set(t.Context(), "ci", Exception{Delivery: None, Since: since}); err == nil {
		t.Error("an exception without a TaskRun was stored")
	}
	if err := s.Set(t.Context(), "ci", e); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, func() bool { _, ok := s.view.ForTaskRun("ci", "u"); return ok })
	if err := s.End(t.Context(), Entry{"ci", Once, e}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, func() bool { return len(s.view.data()) == maxOnceIn })
	if err := s.Forget(t.Context(), "many"); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, func() bool { return len(s.view.data()) == 0 })
}

// TestStoreRoomForTaskRuns: when the room is full, older exceptions of TaskRuns give way, and those of a namespace that
// takes most of it.
func TestStoreRoomForTaskRuns(t *testing.T) {
	fill := func(namespace string, n int, age time.Duration) map[string]string {
		data := map[string]string{}
		for i := range n {
			data[fmt.Sprintf("%s.u-%03d.once", namespace, i)] = encoded(t, Exception{
				Delivery: None, Reason: strings.Repeat("r", MaxReason), Image: image, Node: strings.Repeat("n", 253),
				Since: since.Add(-age - time.Duration(i)*time.Second),
			})
		}
		return data
	}
	crowd := func(age time.Duration) map[string]string {
		data := fill("few", 3, age)
		for i := range 6 {
			maps.Copy(data, fill(fmt.Sprintf("crowd-%d", i), maxOnceIn-1, age))
		}
		for i := range maxOnceIn { // until there is no room at all
			one := fmt.Sprintf("crowd-9.u-%d.once", i)
			if !hasRoom(data, one, data["few.u-000.once"]) {
				break
			}
			data[one] = data["few.u-000.once"]
		}
		return data
	}
	for name, tc := range map[string]struct {
		data      map[string]string
		namespace string
		full      bool
		gone      string // the namespace whose exceptions give way
	}{
		"its own are new":           {fill("ci", maxOnceIn, 0), "ci", true, ""},
		"its own are old":           {fill("ci", maxOnceIn, time.Hour), "ci", false, "ci"},
		"others take all":           {crowd(-time.Hour), "ci", false, "crowd"},
		"others took all long ago":  {crowd(time.Hour), "ci", false, "crowd"},
		"it has as many as others":  {crowd(-time.Hour), "crowd-1", true, ""},
		"it has as many, all older": {crowd(time.Hour), "crowd-1", false, "crowd"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t, tc.data)
			s.source = Once
			err := s.Set(t.Context(), tc.namespace, Exception{
				Delivery: None, Reason: strings.Repeat("r", MaxReason), Since: since, TaskRun: "u-new",
			})
			if errors.Is(err, ErrFull) != tc.full || err != nil && !tc.full {
				t.Fatalf("got %v", err)
			}
			if tc.full {
				return
			}
			eventually(t, s, func() bool { _, ok := s.view.ForTaskRun(tc.namespace, "u-new"); return ok })
			left := s.view.data()
			for key := range tc.data {
				if _, ok := left[key]; !ok && !strings.HasPrefix(key, tc.gone) {
					t.Errorf("%s gave way", key)
				}
			}
			if len(left) > len(tc.data) {
				t.Errorf("expected an exception to give way, got %d of %d and a new one", len(left), len(tc.data))
			}
		})
	}
}

func TestAskForTrials(t *testing.T) {
	e := encoded(t, Exception{Delivery: None, Image: image, Since: since})
	s, client := newStore(t, map[string]string{"a.trial": e, "b.trial": "nonsense", "c.start": e, "d.refusal": e,
		"e.mount": e, "f.u.once": e})
	if err := AskForTrials(t.Context(), client, "test", since); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, func() bool { return cmp.Equal([]string{"a", "c", "d", "e"}, s.view.Table().Refused()) })
	if _, ok := s.view.Table().Of("d", Refusal); ok {
		t.Error("the exception of a refusal is kept, which nothing else ends")
	}
	if _, ok := s.view.ForTaskRun("f", "u"); ok {
		t.Error("the exception of a TaskRun is kept, although the user may have repaired the node")
	}
	if _, ok := s.view.Table().Of("e", Mount); ok {
		t.Error("the exception of a mount is kept, although the user may have repaired the node")
	}
	s, client = newStore(t, map[string]string{"a.start": e, "full.refused": strings.Repeat("x", maxMarks-20)})
	if err := AskForTrials(t.Context(), client, "test", since); err != nil || writes(client) != 0 {
		t.Errorf("no room to ask: %d writes, error %v", writes(client), err)
	}
	s, client = newStore(t, nil)
	if err := AskForTrials(t.Context(), client, "test", since); err != nil || writes(client) != 0 {
		t.Errorf("nothing to ask for: %d writes, error %v", writes(client), err)
	}
}
