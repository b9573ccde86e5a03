// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"log"
	"strings"
	"testing"
	"time"
)

func TestCalm(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	logger := calmed(log.New(&out, "", 0), func() time.Time { return now })
	for range 1000 {
		logger.Print("TLS handshake error")
	}
	if got := strings.Count(out.String(), "\n"); got != calmLines {
		t.Errorf("%d lines, want %d", got, calmLines)
	}
	out.Reset()
	now = now.Add(time.Minute)
	logger.Print("again")
	if want := "980 more lines of the server were left out\nagain\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
