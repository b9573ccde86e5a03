// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestProbeInterrupted: a probe whose creation is interrupted is not left behind.
func TestProbeInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	created, deleted := 0, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.Method {
		case http.MethodPost:
			created++
			interrupt()
			time.Sleep(50 * time.Millisecond) // in which the client would give up
		case http.MethodDelete:
			deleted = r.URL.Path
		}
		fmt.Fprint(w, `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"ci","name":"probe-1"}}`)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	p := pullProbe{}
	p.place.namespace = "ci"
	_, _ = try(ctx, client, p)
	if want := "/api/v1/namespaces/ci/pods/probe-1"; created != 1 || deleted != want {
		t.Errorf("created %d, deleted %q, want %q", created, deleted, want)
	}
	if _, doubt := try(ctx, client, p); doubt == "" || created != 1 {
		t.Errorf("after the interruption: created %d, doubt %q", created, doubt)
	}
}
