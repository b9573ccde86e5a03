// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRoomForNamespaces: when the registry of the signer is away, every namespace of a cluster is left alone,
// as far as there is room. One for which there is none goes on hanging.
func TestRoomForNamespaces(t *testing.T) {
	const namespaces = 1_000 // with reasons and references of the longest kind
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
		used += len(id{fmt.Sprintf("team-%05d-ci", n), Start}.key()) + len(value)
		n++
	}
	if n < namespaces {
		t.Errorf("there is room for %d namespaces of %d", n, namespaces)
	}
}

// TestHostileReasons: whatever somebody's policy or a container runtime says can be kept.
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
