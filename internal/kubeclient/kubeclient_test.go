// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Tests and the add-on use client-go's own clients.
var _ Interface = kubernetes.Interface(nil)

func TestNew(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, QPS: 100, Burst: 100}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if config.RateLimiter != nil || config.UserAgent != "" {
		t.Errorf("the configuration was changed: %v", config)
	}
	ctx, get := t.Context(), metav1.GetOptions{}
	_, versionErr := c.Discovery().ServerVersion()
	_, coreErr := c.CoreV1().Namespaces().Get(ctx, "ci", get)
	_, appsErr := c.AppsV1().Deployments("ci").Get(ctx, "a", get)
	_, rbacErr := c.RbacV1().RoleBindings("ci").Get(ctx, "a", get)
	_, leaseErr := c.CoordinationV1().Leases("ci").Get(ctx, "a", get)
	_, hookErr := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, "a", get)
	for _, err := range []error{versionErr, coreErr, appsErr, rbacErr, leaseErr, hookErr} {
		if err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{
		"GET /version", "GET /api/v1/namespaces/ci", "GET /apis/apps/v1/namespaces/ci/deployments/a",
		"GET /apis/rbac.authorization.k8s.io/v1/namespaces/ci/rolebindings/a",
		"GET /apis/coordination.k8s.io/v1/namespaces/ci/leases/a",
		"GET /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/a",
	}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if _, err := New(&rest.Config{Host: "://"}); err == nil {
		t.Error("an address that is none is accepted")
	}
	if _, err := New(&rest.Config{Host: server.URL, QPS: 1}); err == nil {
		t.Error("a limit without a burst is accepted: every request would wait for ever")
	}
}
