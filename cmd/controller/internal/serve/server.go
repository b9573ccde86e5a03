// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"
)

// Timing of the servers.
const (
	// headTimeout bounds the TLS handshake, and reading the head of each request.
	headTimeout = 5 * time.Second
	// requestTimeout bounds reading a request and writing its answer. API servers give up after ten seconds.
	requestTimeout = 15 * time.Second
	// idleTimeout is above the 90 seconds after which API servers close a connection themselves. A request on a
	// connection that is being closed would be lost.
	idleTimeout = 2 * time.Minute
)

// Sizes of the servers.
const (
	maxHead = 16 << 10 // bytes of a request's head
	// A connection takes about 60 KiB, most of it for TLS.
	webhookConnections = 500
	plainConnections   = 50
)

// Drain defines how a server stops.
type Drain struct {
	// after the stop, the server accepts requests at least for this time, until every API server knows
	Least time.Duration
	Quiet time.Duration // then until there was no request for this time
	Most  time.Duration // but at most for this time
	Grace time.Duration // how long the remaining requests have after that
}

// Webhooks serves handler with TLS until stop ends, and then drains it. Bodies bounds the memory of handlers that
// read bodies.
func Webhooks(stop context.Context, listener net.Listener, handler *Traffic, certificate func() (*tls.Certificate,
	error),
	drain Drain, errorLog *log.Logger,
) error {
	server := newServer(handler, errorLog)
	server.TLSConfig = &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
	}
	limited := limit(listener, NewCrowd(webhookConnections))
	return serve(stop, server, func() error { return server.ServeTLS(limited, "", "") }, func() {
		handler.Drain()
		awaitQuiet(handler, drain)
	}, drain.Grace)
}

// Plain serves handler without TLS until stop ends.
func Plain(stop context.Context, listener net.Listener, handler http.Handler, errorLog *log.Logger) error {
	server := newServer(handler, errorLog)
	limited := limit(listener, NewCrowd(plainConnections))
	return serve(stop, server, func() error { return server.Serve(limited) }, func() {}, time.Second)
}

func newServer(handler http.Handler, errorLog *log.Logger) *http.Server {
	// API servers speak HTTP/1.1 with webhooks here: it spreads requests over the replicas, and a connection has one
	// request at a time.
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: handler, ErrorLog: calmed(errorLog, time.Now), Protocols: protocols, MaxHeaderBytes: maxHead,
		ReadHeaderTimeout: headTimeout, ReadTimeout: requestTimeout, WriteTimeout: 2 * requestTimeout,
		IdleTimeout: idleTimeout,
		ConnContext: withConnection, ConnState: answered,
	}
}

// serve runs a server until stop ends. Then it calls before, and gives the remaining requests the time of grace.
func serve(stop context.Context, server *http.Server, listen func() error, before func(), grace time.Duration) error {
	ended := make(chan error, 1)
	go func() { ended <- listen() }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving: %w", err)
	case <-stop.Done():
	}
	before()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(stop), grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("ending the server: %w", errors.Join(err, server.Close()))
	}
	return nil
}

// awaitQuiet returns when no more requests come.
func awaitQuiet(t *Traffic, d Drain) {
	const look = 50 * time.Millisecond
	time.Sleep(d.Least)
	for waited := d.Least; waited < d.Most && t.Quiet() < d.Quiet; waited += look {
		time.Sleep(look)
	}
}
