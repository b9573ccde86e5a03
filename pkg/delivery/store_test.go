// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
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

func TestAskForTrials(t *testing.T) {
	e := encoded(t, Exception{Delivery: None, Image: image, Since: since})
	s, client := newStore(t, map[string]string{"a.trial": e, "b.trial": "nonsense", "c.start": e})
	if err := AskForTrials(t.Context(), client, "test", since); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, func() bool { return cmp.Equal([]string{"a", "c"}, s.view.Table().Refused()) })
	s, client = newStore(t, nil)
	if err := AskForTrials(t.Context(), client, "test", since); err != nil || writes(client) != 0 {
		t.Errorf("nothing to ask for: %d writes, error %v", writes(client), err)
	}
}
