// SPDX-License-Identifier: Apache-2.0

//go:build !race

package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	hostileConnections = 200
	testLargest        = 8 << 20
	testLarge          = 3 << 20
	testMemory         = 48 << 20
	// mostHeap is half of the add-on's memory limit. Garbage is collected before the heap comes to it, as in the
	// add-on. Both ends of all connections are in this process.
	mostHeap = 128 << 20
)

// fortress is a server of webhooks that is attacked.
type fortress struct {
	address string
	roots   *x509.CertPool
	again   int // how often a call that was cut off is made again
}

func newFortress(t *testing.T) fortress {
	t.Helper()
	certificate, roots := testCertificate(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bodies, err := NewBodies(testMemory, testLargest)
	if err != nil {
		t.Fatal(err)
	}
	bodies.wait *= 3             // for machines that do something else beside: what counts is whose turn comes
	much := make([]byte, 16<<20) // more than the kernel keeps
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, done, status, err := bodies.Take(w, r)
		if err != nil {
			http.Error(w, err.Error(), status)
			return
		}
		done()
		if r.URL.Path == "/much" {
			_, _ = w.Write(much)
			return
		}
		fmt.Fprintf(w, "%d", len(body))
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Webhooks(ctx, listener, NewTraffic(handler, time.Now),
			func() (*tls.Certificate, error) { return certificate, nil },
			Drain{Grace: 100 * time.Millisecond}, log.New(io.Discard, "", 0))
	}()
	t.Cleanup(func() {
		cancel()
		// hostile connections stay open to the end
		if err := <-ended; err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	return fortress{address: listener.Addr().String(), roots: roots}
}

// dial opens a connection from an address of its own.
func (f fortress) dial(ctx context.Context, source string) (net.Conn, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 10 * time.Second}
	return dialer.DialContext(ctx, "tcp", f.address)
}

func (f fortress) tls() *tls.Config {
	return &tls.Config{RootCAs: f.roots, ServerName: "service.namespace.svc", MinVersion: tls.VersionTLS13}
}

// hostile opens a connection with TLS from source and sends text. It stays until the test ends, whatever becomes of it.
func (f fortress) hostile(t *testing.T, source string, text []byte) net.Conn {
	t.Helper()
	plain, err := f.dial(t.Context(), source)
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { _ = plain.Close() })
	c := tls.Client(plain, f.tls())
	_ = plain.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = c.Write(text)
	return c
}

// apiServer is the address from which honest calls come.
const apiServer = "127.0.0.1"

// honest calls from the address of an API server, with new connections and with ones that were used before.
func (f fortress) honest(t *testing.T, calls, size int) {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: f.tls(), MaxIdleConnsPerHost: 25,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return f.dial(ctx, apiServer) },
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			if i%3 == 0 {
				transport.CloseIdleConnections()
			}
			call := func() (string, error) {
				response, err := client.Post("https://"+f.address, "application/json", strings.NewReader(strings.Repeat("x", size)))
				if err != nil {
					return "", err
				}
				defer response.Body.Close()
				answer, err := io.ReadAll(response.Body)
				return fmt.Sprintf("%d %s", response.StatusCode, answer), err
			}
			answer, err := call()
			if err != nil && strings.Contains(err.Error(), "server closed idle connection") {
				answer, err = call() // as whoever uses connections again must: this one was closed between two calls
			}
			for again := 0; err != nil && again < f.again; again++ {
				answer, err = call()
			}
			if want := fmt.Sprintf("200 %d", size); err != nil || answer != want {
				t.Errorf("an honest call got %q, %v; want %q", answer, err, want)
			}
		})
	}
	wg.Wait()
}

// watchHeap returns a function that returns the most that the heap had since.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	var most atomic.Uint64
	look := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most.Store(max(most.Load(), m.HeapAlloc+m.StackInuse))
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			look()
		}
	}()
	return func() uint64 { look(); return most.Load() }
}

// TestHostile has a crowd hold connections in every unfinished state, from one address and from many, while an API
// server calls. Every honest call is answered, and memory stays bounded.
func TestHostile(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(mostHeap))
	head := "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	megabyte := strings.Repeat("x", 1<<20)
	for name, text := range map[string]string{
		"no head":                "",
		"half a head":            "POST / HTTP/1.1\r\nHost: x\r\n",
		"an endless head":        "POST / HTTP/1.1\r\nX: " + megabyte,
		"8 MiB announced":        head + "Content-Length: 8388608\r\n\r\n",
		"1 of 8 MiB":             head + "Content-Length: 8388608\r\n\r\n" + megabyte,
		"more than is taken":     head + "Content-Length: 8388609\r\n\r\n" + megabyte,
		"chunks without an end":  head + "Transfer-Encoding: chunked\r\n\r\n100000\r\n" + megabyte + "\r\n",
		"an answer not taken":    strings.Replace(head, " / ", " /much ", 1) + "Content-Length: 1048576\r\n\r\n" + megabyte,
		"a whole body, and more": head + "Content-Length: 1048576\r\n\r\n" + megabyte + head,
	} {
		bytes := []byte(text)
		for sources, source := range map[string]func(int) string{
			"one": func(int) string { return "127.0.0.2" },
			"all": func(i int) string { return fmt.Sprintf("127.0.1.%d", i+1) },
			"the": func(int) string { return "127.0.0.1" }, // address of the API server, as where addresses are rewritten
		} {
			t.Run(name+" from "+sources, func(t *testing.T) {
				f := newFortress(t)
				if sources == "the" {
					f.again = 3 // nobody can tell whose connection to close: a call that is cut off has to be made again
				}
				runtime.GC()
				heap := watchHeap(t)
				var wg sync.WaitGroup
				for i := range hostileConnections {
					wg.Go(func() { f.hostile(t, source(i), bytes) })
				}
				f.honest(t, 30, 100<<10)
				wg.Wait()
				f.honest(t, 30, 100<<10)
				f.honest(t, 3, testLarge)
				if got := heap(); got > mostHeap {
					t.Errorf("the heap had %d MiB, want at most %d", got>>20, mostHeap>>20)
				} else {
					t.Logf("heap of %d MiB", got>>20)
				}
			})
		}
	}
}

// TestHostileHandshakes has more connections than there are places that never say anything, not even of TLS.
func TestHostileHandshakes(t *testing.T) {
	f := newFortress(t)
	for i := range webhookConnections + 100 {
		c, err := f.dial(t.Context(), fmt.Sprintf("127.0.%d.%d", 2+i/250, 1+i%250))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	f.honest(t, 50, 100<<10)
}

// TestNoHTTP2 offers HTTP/2, and begins it without having been asked: a connection has one request at a time.
func TestNoHTTP2(t *testing.T) {
	f := newFortress(t)
	plain, err := f.dial(t.Context(), "127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	config := f.tls()
	config.NextProtos = []string{"h2", "http/1.1"}
	c := tls.Client(plain, config)
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("speaks %q", got)
	}
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.ProtoMajor != 1 || response.StatusCode < 400 {
		t.Errorf("answered HTTP/%d %d", response.ProtoMajor, response.StatusCode)
	}
	f.honest(t, 5, 1000)
}

// TestBodiesRefused has requests that are not read, and the status of their answer.
func TestBodiesRefused(t *testing.T) {
	f := newFortress(t)
	for name, c := range map[string]struct {
		text   string
		status int
	}{
		"too large": {"Content-Length: 8388609\r\n\r\n", http.StatusRequestEntityTooLarge},
		"chunked":   {"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", http.StatusLengthRequired},
	} {
		conn := f.hostile(t, "127.0.0.1", []byte("POST / HTTP/1.1\r\nHost: x\r\n"+c.text))
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if response.StatusCode != c.status || !response.Close {
			t.Errorf("%s: got %d, close %v, want %d and the end of the connection", name, response.StatusCode, response.Close,
				c.status)
		}
		response.Body.Close()
	}
	if _, err := NewBodies(8<<20, 8<<20); err == nil {
		t.Error("bodies that cannot fit are taken")
	}
}
