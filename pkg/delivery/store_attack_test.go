// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRoomForNamespaces checks that every namespace of a cluster gets an exception while there is room, for
// example if the signer's registry is down. Pods of a namespace without room keep waiting.
func TestRoomForNamespaces(t *testing.T) {
	const namespaces = 1_000 // with reasons and references of the maximum length
	e := Exception{
		Delivery: None, Reason: strings.Repeat("x", MaxReason), Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Image: "ghcr.io/tekton-sign/signer:v1.0.0@sha256:" + strings.Repeat("0", 64),
	}
	value, err := e.encode()
	if err != nil {
		t.Fatal(err)
	}
	used, n := 0, 0
	for used < maxSize {
		used += len(id{namespace: fmt.Sprintf("team-%05d-ci", n), source: Start}.key()) + len(value)
		n++
	}
	if n < namespaces {
		t.Errorf("there is room for %d namespaces of %d", n, namespaces)
	}
}

// TestHostileReasons checks that any message of a policy or a container runtime can be stored.
func TestHostileReasons(t *testing.T) {
	for _, reason := range []string{
		strings.Repeat("\xff", 300), strings.Repeat("<", 300), strings.Repeat("\x00", 300), strings.Repeat("\u2028", 300),
		strings.Repeat("é", 150), "a\"}{\\",
	} {
		e := Exception{Delivery: None, Reason: reason,
			Image: "ghcr.io/tekton-sign/signer:v1@sha256:" + strings.Repeat("0", 64)}
		if _, err := e.encode(); err != nil {
			t.Errorf("%.10q: %v", reason, err)
		}
	}
}
