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
	// headTimeout bounds the handshake of TLS, and the head of each request.
	headTimeout = 5 * time.Second
	// requestTimeout bounds reading a request and writing its answer. API servers give up on a webhook after ten seconds.
	requestTimeout = 15 * time.Second
	// idleTimeout is above the 90 seconds after which API servers close a connection themselves: a request on one that is just
	// being closed is lost.
	idleTimeout = 2 * time.Minute
)

// Sizes of the servers.
const (
	maxHead = 16 << 10 // bytes of a request's head
	// A connection takes about 60 KiB, most of it for TLS.
	webhookConnections = 500
	plainConnections   = 50
)

// Drain says how a server ends.
type Drain struct {
	Least time.Duration // requests are answered at least so long after the stop: until then every API server has heard of it
	Quiet time.Duration // after that, until there was no request for so long
	Most  time.Duration // but no longer than this
	Grace time.Duration // what requests have that are still being answered then
}

// Webhooks serves handler with TLS until stop ends, and then drains it. What callers can take of memory is bounded for handlers
// that read by Bodies.
func Webhooks(stop context.Context, listener net.Listener, handler *Traffic, certificate func() (*tls.Certificate, error),
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
	// HTTP/1.1 only, which is what API servers speak with webhooks: it lets them spread requests over the replicas, and a
	// connection has one request at a time.
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: handler, ErrorLog: calmed(errorLog, time.Now), Protocols: protocols, MaxHeaderBytes: maxHead,
		ReadHeaderTimeout: headTimeout, ReadTimeout: requestTimeout, WriteTimeout: 2 * requestTimeout, IdleTimeout: idleTimeout,
		ConnContext: withConnection, ConnState: answered,
	}
}

// serve runs a server until stop ends, and then ends it: before is what comes first, grace is what requests have to end.
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

// awaitQuiet returns when no API server calls any more.
func awaitQuiet(t *Traffic, d Drain) {
	const look = 50 * time.Millisecond
	time.Sleep(d.Least)
	for waited := d.Least; waited < d.Most && t.Quiet() < d.Quiet; waited += look {
		time.Sleep(look)
	}
}
