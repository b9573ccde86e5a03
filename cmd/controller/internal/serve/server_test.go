// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	certresources "knative.dev/pkg/webhook/certificates/resources"
)

// patience is how long a replica under load may take to end.
const patience = 8 * time.Second

// TestDrain ends one of two replicas under load, as a rolling update does: callers keep their connections, and hear
// that the replica goes a while after it was told to. No request gets an error.
func TestDrain(t *testing.T) {
	certificate, roots := testCertificate(t)
	first, second := startReplica(t, certificate), startReplica(t, certificate)
	var leaving atomic.Bool
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		target := first
		if leaving.Load() {
			target = second
		}
		return (&net.Dialer{}).DialContext(ctx, network, target.address)
	}
	transport := &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: 25, // as API servers have it
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "service.namespace.svc", MinVersion: tls.VersionTLS13},
	}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}

	load, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var answered atomic.Int64
	for range 8 {
		wg.Go(func() {
			for load.Err() == nil {
				if err := call(client); err != nil {
					t.Errorf("a request was lost: %v", err)
					return
				}
				answered.Add(1)
			}
		})
	}
	waitFor(t, "many requests", func() bool { return answered.Load() >= 100 })
	first.stop()
	time.Sleep(50 * time.Millisecond)
	leaving.Store(true) // now every caller knows
	told := time.Now()
	if err := <-first.ended; err != nil {
		t.Errorf("the replica ended with %v", err)
	}
	if took := time.Since(told); took > patience/2 {
		t.Errorf("the replica ended after %s: callers went on with their connections", took)
	}
	waitFor(t, "requests at the second replica", func() bool { return second.answered.Load() > 0 })
	cancel()
	wg.Wait()
}

// waitFor waits until something has come about, which a busy machine may take its time for.
func waitFor(t *testing.T, what string, come func() bool) {
	t.Helper()
	for range 3000 {
		if come() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no %s within half a minute", what)
}

// TestDrainIsBounded has a caller that never stops.
func TestDrainIsBounded(t *testing.T) {
	handler := NewTraffic(http.NotFoundHandler(), time.Now)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				id, _ := handler.begin()
				handler.end(id)
			}
		}
	}()
	start := time.Now()
	awaitQuiet(handler, Drain{Least: 10 * time.Millisecond, Quiet: time.Minute, Most: 100 * time.Millisecond})
	if took := time.Since(start); took < 100*time.Millisecond || took > 10*time.Second {
		t.Errorf("expected to wait 100 ms, got %s", took)
	}
}

// TestTraffic looks at requests that are being answered.
func TestTraffic(t *testing.T) {
	now := time.Unix(0, 0)
	traffic := NewTraffic(http.NotFoundHandler(), func() time.Time { return now })
	now = now.Add(time.Second)
	if traffic.Quiet() != time.Second || traffic.Oldest() != 0 {
		t.Errorf("idle: quiet %s, oldest %s", traffic.Quiet(), traffic.Oldest())
	}
	first, _ := traffic.begin()
	now = now.Add(time.Second)
	second, _ := traffic.begin()
	now = now.Add(time.Second)
	if traffic.Quiet() != 0 || traffic.Oldest() != 2*time.Second {
		t.Errorf("busy: quiet %s, oldest %s", traffic.Quiet(), traffic.Oldest())
	}
	traffic.end(first)
	if traffic.Oldest() != time.Second {
		t.Errorf("one left: oldest %s", traffic.Oldest())
	}
	traffic.end(second)
	now = now.Add(time.Minute)
	if traffic.Quiet() != time.Minute {
		t.Errorf("after all: quiet %s", traffic.Quiet())
	}
}

type replica struct {
	address  string
	stop     context.CancelFunc
	ended    chan error
	answered *atomic.Int64
}

func startReplica(t *testing.T, certificate *tls.Certificate) replica {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r := replica{address: listener.Addr().String(), stop: cancel, ended: make(chan error, 1), answered: &atomic.Int64{}}
	handler := NewTraffic(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		time.Sleep(2 * time.Millisecond)
		r.answered.Add(1)
		_, _ = io.WriteString(w, "ok")
	}), time.Now)
	go func() {
		r.ended <- Webhooks(ctx, listener, handler, func() (*tls.Certificate, error) { return certificate, nil },
			Drain{Least: time.Second, Quiet: 300 * time.Millisecond, Most: patience, Grace: 5 * time.Second},
			log.New(io.Discard, "", 0))
	}()
	return r
}

func call(client *http.Client) error {
	response, err := client.Post("https://service.namespace.svc/", "application/json", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

func testCertificate(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, cert, authority, err := certresources.CreateCerts(t.Context(), "service", "namespace", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		t.Fatal("the authority is no certificate")
	}
	return &pair, roots
}
