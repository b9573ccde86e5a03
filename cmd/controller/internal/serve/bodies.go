// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Timing of bodies. API servers send a body in a few milliseconds.
const (
	bodyWait = 5 * time.Second // for memory
	bodyLead = 2 * time.Second // for any body
	bodyRate = 2 << 20         // bytes for each further second
)

// How much memory a body takes, from reading it until its answer.
const (
	bodyFactor = 4        // the body, what is decoded from it, and what that is compared with
	bodyBase   = 16 << 10 // whatever its size
)

// Bodies reads the bodies of requests. Together, those in work take a limited amount of memory.
type Bodies struct {
	pool    *Pool
	largest int64
	wait    time.Duration // for memory
}

// NewBodies returns a reader of bodies of at most largest bytes each, which uses this much memory.
func NewBodies(memory, largest int64) (*Bodies, error) {
	if weight(largest) > memory {
		return nil, fmt.Errorf("bodies of %d bytes take %d bytes of memory, more than %d", largest, weight(largest), memory)
	}
	return &Bodies{pool: NewPool(memory), largest: largest, wait: bodyWait}, nil
}

func weight(length int64) int64 { return bodyBase + bodyFactor*length }

// Take reads the whole body. Call done when the answer is ready: until then the request is in use, and keeps its
// memory and its connection. After that it can lose them to other requests, or returns them when its handler
// returns. An error comes with the status of the answer, and the connection ends after it, because the rest of the
// body is not read.
func (b *Bodies) Take(w http.ResponseWriter, r *http.Request) (body []byte, done func(), status int, err error) {
	control := http.NewResponseController(w)
	body, done, err = b.take(control, r)
	if err == nil {
		return body, done, http.StatusOK, nil
	}
	w.Header().Set("Connection", "close")
	_ = control.SetReadDeadline(past()) // it fails only if the connection is closed
	var known *refused
	if errors.As(err, &known) {
		return nil, nil, known.status, err
	}
	return nil, nil, http.StatusInternalServerError, err
}

// refused is why a body is not accepted, with the status of the answer.
type refused struct {
	status int
	reason string
}

func (r *refused) Error() string { return "body: " + r.reason }

func (b *Bodies) take(control *http.ResponseController, r *http.Request) (body []byte, done func(), err error) {
	if err := b.check(r); err != nil {
		return nil, nil, err
	}
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	if c == nil {
		return nil, nil, errors.New("body: its connection is not known")
	}
	ctx, cancel := context.WithTimeout(r.Context(), b.wait)
	defer cancel()
	place, err := b.pool.Take(ctx, c.source, weight(r.ContentLength), func() {
		_ = errors.Join(control.SetReadDeadline(past()), control.SetWriteDeadline(past()))
	})
	if err != nil {
		return nil, nil, &refused{http.StatusServiceUnavailable, "the server is reading too many requests"}
	}
	if body, err = read(control, r, place); err == nil {
		err = errors.Join(place.Keep(), c.place.Load().Keep())
	}
	if err != nil {
		place.Leave()
		return nil, nil, &refused{http.StatusBadRequest, "it did not come in time"}
	}
	context.AfterFunc(r.Context(), place.Leave)
	return body, func() { place.Release(); c.place.Load().Release() }, nil
}

// check checks the announced length before anything is read.
func (b *Bodies) check(r *http.Request) error {
	switch {
	case r.ContentLength < 0: // API servers always send it
		return &refused{http.StatusLengthRequired, "expected a Content-Length"}
	case r.ContentLength > b.largest:
		return &refused{http.StatusRequestEntityTooLarge, fmt.Sprintf("expected at most %d bytes", b.largest)}
	}
	return nil
}

func read(control *http.ResponseController, r *http.Request, place *Place) ([]byte, error) {
	limit := bodyLead + time.Duration(r.ContentLength)*time.Second/bodyRate
	if err := control.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	if place.Evicted() { // perhaps before the deadline above replaced that of the eviction
		return nil, errEvicted
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return nil, err
	}
	// The connection must not end while the request is answered. The next request has its own deadlines.
	return body, control.SetReadDeadline(time.Time{})
}

// past is a deadline that has passed.
func past() time.Time { return time.Unix(1, 0) }
