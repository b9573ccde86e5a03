// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
)

// The port counts as closed only if the API server reports it or gets no answer. Any answer of the add-on shows
// that the port is open.
func TestUnreached(t *testing.T) {
	services := schema.GroupResource{Resource: "services"}
	for name, tc := range map[string]struct {
		answer error
		want   string
	}{
		"an answer":       {nil, ""},
		"no such path":    {apierrors.NewNotFound(services, "x"), ""},
		"no such method":  {apierrors.NewMethodNotSupported(services, "get"), ""},
		"you may not ask": {apierrors.NewForbidden(services, "x", errors.New("no")), ""},
		"busy": {
			apierrors.NewGenericServerResponse(http.StatusServiceUnavailable, "get", services, "x", "busy", 0, true), "",
		},
		"no replica": {
			apierrors.NewServiceUnavailable(`no endpoints available for service "https:tekton-sign-controller:443"`), "",
		},
		"refused": {
			enabletest.PortClosed("dial tcp 10.0.0.9:8443: connect: connection refused"),
			"the API server does not reach the add-on on port 8443",
		},
		"refused, as older servers put it": {
			apierrors.NewGenericServerResponse(http.StatusServiceUnavailable, "get", services, "x",
				"Error trying to reach service: 'dial tcp: refused'", 0, true),
			"the API server does not reach the add-on on port 8443",
		},
		"dropped": {
			enabletest.PortClosed("dial tcp 10.0.0.9:8443: i/o timeout"),
			"the API server does not reach the add-on on port 8443",
		},
		"dropped, for longer": {
			fmt.Errorf("get: %w", context.DeadlineExceeded), "the API server gets no answer from the add-on on port 8443",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t)
			c.reachable(tc.answer)
			got := Unreached(t.Context(), c.kube)
			if (got == "") != (tc.want == "") || !matches(errorText(got), tc.want) && tc.want != "" {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// An aborted question shows nothing.
func TestUnreachedWhenAborted(t *testing.T) {
	c := newFakeCluster(t)
	c.reachable(context.Canceled)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Unreached(ctx, c.kube); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

// If one of two replicas has just died, the port is still open.
func TestUnreachedOfTwo(t *testing.T) {
	c := newFakeCluster(t)
	asked := 0
	enabletest.Answer(c.kube, func() error {
		if asked++; asked < reachAttempts {
			return enabletest.PortClosed("dial tcp 10.0.0.9:8443: connect: connection refused")
		}
		return nil
	})
	if got := Unreached(t.Context(), c.kube); got != "" || asked != reachAttempts {
		t.Errorf("got %q after %d questions, want an answer", got, asked)
	}
}
