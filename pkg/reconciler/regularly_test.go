// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	pkgreconciler "knative.dev/pkg/reconciler"
)

// TestRegularly works only while this replica leads, and sooner again after a failure.
func TestRegularly(t *testing.T) {
	calls := make(chan int, 10)
	n := 0
	r := NewRegularly(t.Context(), func(context.Context) error {
		n++
		calls <- n
		if n == 1 {
			return errors.New("not yet")
		}
		return nil
	}, time.Hour, time.Millisecond)
	if err := r.Reconcile(t.Context(), "a/b"); err != nil || len(calls) > 0 {
		t.Errorf("before this replica leads: got %d calls, %v", len(calls), err)
	}
	if err := r.Promote(pkgreconciler.UniversalBucket(), func(pkgreconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= 2; want++ {
		select {
		case got := <-calls:
			if got != want {
				t.Errorf("expected call %d, got %d", want, got)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("call %d did not come", want)
		}
	}
	r.Demote(pkgreconciler.UniversalBucket())
	if len(calls) > 0 {
		t.Errorf("after a success it waits: got %d more calls", len(calls))
	}
}
