// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
)

// receiveBuffer bounds what the kernel keeps of each connection until it is read, in bytes: it counts as this process's memory.
const receiveBuffer = 64 << 10

// listener accepts so many connections at a time as its pool has places. A new one closes one that nothing is being answered
// on, of the address that has most of those: an API server always gets in.
type listener struct {
	net.Listener
	places *Pool
	open   context.Context
	end    context.CancelFunc
}

func limit(l net.Listener, places *Pool) *listener {
	ctx, cancel := context.WithCancel(context.Background())
	return &listener{Listener: l, places: places, open: ctx, end: cancel}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &connection{Conn: accepted, source: sourceOf(accepted.RemoteAddr())}
		place, err := l.places.Take(l.open, c.source, 1, func() { _ = c.Close() })
		switch {
		case err == nil && c.hold(place):
			return c, nil
		case l.open.Err() != nil:
			_ = accepted.Close()
			return nil, net.ErrClosed
		}
		_ = accepted.Close()
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.end()
	return l.Listener.Close()
}

// connection holds a place until it is closed.
type connection struct {
	net.Conn
	source string
	place  atomic.Pointer[Place]
}

// hold has the place given back with the connection. It reports false if it was taken away before.
func (c *connection) hold(place *Place) bool {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(receiveBuffer) // without it more is kept, no more than that
	}
	c.place.Store(place)
	if place.Evicted() {
		place.Leave()
		return false
	}
	return true
}

// Close implements net.Conn.
func (c *connection) Close() error {
	err := c.Conn.Close()
	if place := c.place.Load(); place != nil {
		place.Leave()
	}
	return err
}

// sourceOf returns the address that a connection is counted for.
func sourceOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// connectionOf returns the connection beneath TLS, nil for one that no listener of this package accepted.
func connectionOf(c net.Conn) *connection {
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	found, _ := c.(*connection)
	return found
}

type connectionKey struct{}

// withConnection is http.Server.ConnContext.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, connectionOf(c))
}

// answered is http.Server.ConnState: a connection that waits for the next request may be closed for another one.
func answered(c net.Conn, state http.ConnState) {
	if known := connectionOf(c); known != nil && state == http.StateIdle {
		known.place.Load().Release()
	}
}
