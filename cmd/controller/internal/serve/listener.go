// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
)

// receiveBuffer bounds how many unread bytes of each connection the kernel keeps, because they count as memory of
// this process.
const receiveBuffer = 64 << 10

// listener accepts as many connections as its pool has places. A new connection can close an idle one, of the
// address with most of them. So an API server can always connect.
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

// hold returns the place when the connection closes. It reports false if the place was evicted before.
func (c *connection) hold(place *Place) bool {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(receiveBuffer) // without it the kernel only keeps more
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

// sourceOf returns the address to which a connection counts.
func sourceOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// connectionOf returns the connection below TLS, or nil if no listener of this package accepted it.
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

// answered is http.Server.ConnState. It allows idle connections to be closed for new ones.
func answered(c net.Conn, state http.ConnState) {
	if known := connectionOf(c); known != nil && state == http.StateIdle {
		known.place.Load().Release()
	}
}
