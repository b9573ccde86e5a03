// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// Nothing dials while --offline verifies: every dialer that the process has fails, and says so.
func TestOfflineDialsNothing(t *testing.T) {
	var dials atomic.Int64
	dial := func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("a connection was opened")
	}
	transport, resolver := http.DefaultTransport, net.DefaultResolver
	http.DefaultTransport, net.DefaultResolver = &http.Transport{DialContext: dial},
		&net.Resolver{PreferGo: true, Dial: dial}
	t.Cleanup(func() { http.DefaultTransport, net.DefaultResolver = transport, resolver })
	dir := workFolder(t)
	t.Setenv("KUBECONFIG", filepath.Join(dir, "none"))
	for _, c := range verifyCases {
		args := []string{"verify", "--allow-unrecorded", "--offline", "--server", "https://cluster.invalid",
			"--trust-bundle", filepath.Join(dir, "bundle.json")}
		for _, file := range c.files {
			args = append(args, "-f", filepath.Join(dir, file))
		}
		if out, code := runPlugin(t, args...); code != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", c.files, code, c.code, out)
		}
	}
	if n := dials.Load(); n > 0 {
		t.Errorf("%d connections were tried", n)
	}
	if _, code := runPlugin(t, "verify", "--server", "https://cluster.invalid", "taskrun/x"); code != ExitIndeterminate ||
		dials.Load() == 0 {
		t.Errorf("without --offline: exit code %d, %d connections: the dialer is not the one in use", code, dials.Load())
	}
}

// The order of a report is that of the input, whatever the number of cores, and its bytes are the same.
func TestOrderIsThatOfTheInput(t *testing.T) {
	dir := workFolder(t)
	args := []string{"verify", "--allow-unrecorded", "--offline", "-o", "json", "--trust-bundle",
		filepath.Join(dir, "bundle.json")}
	for range 15 {
		for _, file := range []string{"build.yaml", "running.yaml", "list.json", "missing.yaml", "swapped.yaml",
			"broken.jsonl"} {
			args = append(args, "-f", filepath.Join(dir, file))
		}
	}
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	want := ""
	for _, cores := range []int{1, 2, 3, 8} {
		runtime.GOMAXPROCS(cores)
		got, _ := runPlugin(t, args...)
		if want == "" {
			want = got
		}
		if got != want || strings.Count(got, `"verdict"`) != 15*7 {
			t.Errorf("with %d cores the report is another one, with %d TaskRuns", cores, strings.Count(got, `"verdict"`))
		}
	}
}
