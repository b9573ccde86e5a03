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

// These durations are longer than any regular work.
const (
	// stuckRequest is far above the ten seconds after which an API server gives up, and above every wait in a handler.
	stuckRequest = time.Minute
	// stuckWork is far above the time that a reconciler needs for one key, also with a slow API server.
	stuckWork = 10 * time.Minute
	// stuckLock is how long it may take to read the state that every request reads.
	stuckLock = 3 * time.Second
)

// probes answers the kubelet.
func (a *addOn) probes(stop context.Context, traffic *serve.Traffic, certificate *serve.Certificate) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/readiness", probe(http.StatusServiceUnavailable, func() error { return a.ready(stop, certificate) }))
	mux.Handle("/health", probe(http.StatusInternalServerError, func() error {
		return alive(traffic.Oldest(), a.metrics.LongestWork(), a.probeLocks)
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

// ready returns an error unless this replica can serve: it knows the settings, namespaces, nodes and keys, and has a
// valid certificate. A pod that is asked to stop is not ready, so that no more requests come.
func (a *addOn) ready(stop context.Context, certificate *serve.Certificate) error {
	switch {
	case stop.Err() != nil:
		return errors.New("it was asked to stop")
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

// probeLocks reads the state that every request reads. It returns unless a lock is never released.
func (a *addOn) probeLocks() {
	a.Ready()
	a.Settings()
	a.trust.Ready()
	a.delivery.HasSynced()
}

// alive returns an error if this process cannot work any more and only a restart helps. It does not check that the
// API server answers: the other replicas use the same one.
func alive(oldestRequest, longestWork time.Duration, probe func()) error {
	if oldestRequest > stuckRequest {
		return fmt.Errorf("a request has been waiting for its answer for %s", oldestRequest.Round(time.Second))
	}
	if longestWork > stuckWork {
		return fmt.Errorf("a reconciler has been working on one thing for %s", longestWork.Round(time.Second))
	}
	answered := make(chan struct{})
	go func() { probe(); close(answered) }()
	select {
	case <-answered:
		return nil
	case <-time.After(stuckLock):
		return errors.New("a lock is never released")
	}
}
