// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/cmd/controller/internal/serve"
)

// Limits of what is still taken for work.
const (
	// stuckRequest is far above the ten seconds after which an API server gives up, and every wait inside a handler.
	stuckRequest = time.Minute
	// stuckWork is far above what a reconciler takes for one key, with an API server that is slow.
	stuckWork = 10 * time.Minute
	// stuckLook is how long a look at what every request looks at may take.
	stuckLook = 3 * time.Second
)

// probes answers the kubelet.
func (a *addOn) probes(stop context.Context, traffic *serve.Traffic, certificate *serve.Certificate) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/readiness", probe(http.StatusServiceUnavailable, func() error { return a.ready(stop, certificate) }))
	mux.Handle("/health", probe(http.StatusInternalServerError, func() error {
		return alive(traffic.Oldest(), a.metrics.LongestWork(), a.look)
	}))
	return mux
}

func probe(status int, check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			http.Error(w, err.Error(), status)
			return
		}
		w.WriteHeader(http.StatusOK)
	}
}

// ready is an error unless this replica can serve: it knows settings, namespaces, nodes and keys, and has a certificate that
// is valid. A pod that was told to stop is not ready, so that it is called no more.
func (a *addOn) ready(stop context.Context, certificate *serve.Certificate) error {
	switch {
	case stop.Err() != nil:
		return errors.New("it was told to stop")
	case !a.Ready():
		return errors.New("settings and namespaces are not known yet")
	case !a.delivery.HasSynced():
		return errors.New("the nodes are not known yet")
	case !a.trust.Ready():
		return errors.New("the issuer's keys are not known yet")
	case !a.sealKey().Usable():
		return errors.New("the key of the seals is not known yet")
	}
	return certificate.Valid()
}

// look touches what every request looks at. It returns unless somebody holds a lock for good.
func (a *addOn) look() {
	a.Ready()
	a.Settings()
	a.trust.Ready()
	a.delivery.HasSynced()
}

// alive is an error if this process does nothing any more and only a restart helps. An API server that does not answer is no
// reason: the other replicas have the same one.
func alive(oldestRequest, longestWork time.Duration, look func()) error {
	if oldestRequest > stuckRequest {
		return fmt.Errorf("a request has been waiting for its answer for %s", oldestRequest.Round(time.Second))
	}
	if longestWork > stuckWork {
		return fmt.Errorf("a reconciler has been working on one thing for %s", longestWork.Round(time.Second))
	}
	looked := make(chan struct{})
	go func() { look(); close(looked) }()
	select {
	case <-looked:
		return nil
	case <-time.After(stuckLook):
		return errors.New("a lock is held for good")
	}
}
