// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
)

// fakeAPI holds pods, each named by its number, in pages, and one watch at a time.
type fakeAPI struct {
	mu       sync.Mutex
	pages    [][]string
	requests []string // what was asked
	listErrs []error  // for the next lists
	watchErr []error  // for the next watches
	watching chan *watch.FakeWatcher
}

func newFakeAPI(pages ...[]string) *fakeAPI {
	return &fakeAPI{pages: pages, watching: make(chan *watch.FakeWatcher, 16)}
}

func pod(name, version string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version}}
}

func (a *fakeAPI) ListWithContext(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, fmt.Sprintf("list limit %d continue %q", o.Limit, o.Continue))
	if len(a.listErrs) > 0 {
		err := a.listErrs[0]
		a.listErrs = a.listErrs[1:]
		if err != nil {
			return nil, err
		}
	}
	page := 0
	if o.Continue != "" {
		if _, err := fmt.Sscanf(o.Continue, "page-%d", &page); err != nil {
			return nil, err
		}
	}
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: fmt.Sprint(100 + page)}}
	for _, name := range a.pages[page] {
		list.Items = append(list.Items, *pod(name, "1"))
	}
	if page+1 < len(a.pages) {
		list.Continue = fmt.Sprintf("page-%d", page+1)
	}
	return list, nil
}

func (a *fakeAPI) WatchWithContext(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, fmt.Sprintf("watch %s bookmarks %v", o.ResourceVersion, o.AllowWatchBookmarks))
	if len(a.watchErr) > 0 {
		err := a.watchErr[0]
		a.watchErr = a.watchErr[1:]
		if err != nil {
			return nil, err
		}
	}
	w := watch.NewFakeWithChanSize(8, false)
	a.watching <- w
	return w, nil
}

func (a *fakeAPI) asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.requests...)
}

// startFeed runs a feed of a until the test ends, and returns what it shows.
func startFeed(t *testing.T, a *fakeAPI, change func(*Feed[*corev1.Pod])) <-chan string {
	t.Helper()
	shown := make(chan string, 64)
	feed := NewFeed(a, func(e watch.EventType, p *corev1.Pod) { shown <- fmt.Sprintf("%s %s", e, p.Name) },
		zap.NewNop().Sugar())
	feed.backoff = wait.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 1}
	if change != nil {
		change(feed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		feed.Run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return shown
}

func wantShown(t *testing.T, shown <-chan string, want ...string) {
	t.Helper()
	var got []string
	for range want {
		select {
		case s := <-shown:
			got = append(got, s)
		case <-time.After(10 * time.Second):
			t.Fatalf("expected %q, got %q and then nothing", want, got)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
}

func nextWatch(t *testing.T, a *fakeAPI) *watch.FakeWatcher {
	t.Helper()
	select {
	case w := <-a.watching:
		return w
	case <-time.After(10 * time.Second):
		t.Fatalf("expected a watch, got %q", a.asked())
		return nil
	}
}

var errGone = apierrors.NewResourceExpired("too old resource version")

func TestFeedListsInPagesAndWatches(t *testing.T) {
	a := newFakeAPI([]string{"a", "b"}, []string{"c"})
	shown := startFeed(t, a, nil)
	wantShown(t, shown, "ADDED a", "ADDED b", "ADDED c")
	w := nextWatch(t, a)
	w.Add(pod("d", "103"))
	w.Action(watch.Bookmark, pod("", "104"))
	w.Modify(pod("a", "105"))
	w.Delete(pod("b", "106"))
	wantShown(t, shown, "ADDED d", "MODIFIED a", "DELETED b")
	want := []string{`list limit 250 continue ""`, `list limit 250 continue "page-1"`, "watch 100 bookmarks true"}
	if diff := cmp.Diff(want, a.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// A watch that ends goes on from the last event or bookmark, without a new list.
func TestFeedGoesOnAfterAWatchEnds(t *testing.T) {
	a := newFakeAPI([]string{"a"})
	shown := startFeed(t, a, nil)
	wantShown(t, shown, "ADDED a")
	w := nextWatch(t, a)
	w.Action(watch.Bookmark, pod("", "107"))
	w.Stop()
	nextWatch(t, a).Add(pod("b", "108"))
	wantShown(t, shown, "ADDED b")
	want := []string{`list limit 250 continue ""`, "watch 100 bookmarks true", "watch 107 bookmarks true"}
	if diff := cmp.Diff(want, a.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestFeedListsAgain(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", fmt.Errorf("not yet"))
	for name, test := range map[string]struct {
		api    func(*fakeAPI)
		during func(*testing.T, *fakeAPI)
		change func(*Feed[*corev1.Pod])
	}{
		"a list fails":                     {api: func(a *fakeAPI) { a.listErrs = []error{nil, forbidden} }},
		"the second page is gone":          {api: func(a *fakeAPI) { a.listErrs = []error{nil, errGone} }},
		"a watch is answered with 410":     {api: func(a *fakeAPI) { a.watchErr = []error{errGone} }},
		"a watch is forbidden":             {api: func(a *fakeAPI) { a.watchErr = []error{forbidden} }},
		"it is time to look at everything": {change: func(f *Feed[*corev1.Pod]) { f.resync = 50 * time.Millisecond }},
		"a watch says 410": {during: func(t *testing.T, a *fakeAPI) {
			status := errGone.Status()
			status.Code = http.StatusGone
			nextWatch(t, a).Error(&status)
		}},
		"a watch shows something else": {during: func(t *testing.T, a *fakeAPI) {
			nextWatch(t, a).Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "101"}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newFakeAPI([]string{"a"}, []string{"b"})
			if test.api != nil {
				test.api(a)
			}
			shown := startFeed(t, a, test.change)
			if test.during != nil {
				test.during(t, a)
			}
			deadline := time.After(10 * time.Second)
			for seen := map[string]int{}; seen["ADDED a"] < 2 || seen["ADDED b"] < 1; {
				select {
				case s := <-shown:
					seen[s]++
				case <-deadline:
					t.Fatalf("expected a second list, got %v after %q", seen, a.asked())
				}
			}
		})
	}
}

// Failures in a row are not answered by requests in a row.
func TestFeedBacksOff(t *testing.T) {
	a := newFakeAPI([]string{"a"})
	for range 1000 {
		a.listErrs = append(a.listErrs, errGone)
	}
	startFeed(t, a, func(f *Feed[*corev1.Pod]) {
		f.backoff = wait.Backoff{Duration: 20 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 6, Cap: time.Minute}
	})
	time.Sleep(300 * time.Millisecond)
	if n := len(a.asked()); n < 2 || n > 6 {
		t.Errorf("expected 2 to 6 requests in 300 ms, got %d", n)
	}
}

func TestLeading(t *testing.T) {
	l := &Leading{}
	started := make(chan context.Context, 4)
	run := func(ctx context.Context) { started <- ctx }
	l.Demote() // of who never led
	l.Promote(t.Context(), run)
	l.Promote(t.Context(), run)
	first := <-started
	l.Demote()
	<-first.Done()
	l.Promote(t.Context(), run)
	second := <-started
	if err := second.Err(); err != nil {
		t.Errorf("after a second promotion: expected a running context, got %v", err)
	}
	if len(started) != 0 {
		t.Error("expected one start for each promotion, got more")
	}
	l.Demote()
}
