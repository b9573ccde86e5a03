// SPDX-License-Identifier: Apache-2.0

//go:build !race

package corpus_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/cli"
)

// mostMemory is how many bytes of memory one case may use. The race detector needs several times as much,
// hence the build tag.
const mostMemory = 512 << 20

// asPlugin is the variable that makes the test binary run as the plugin. Its value is the file for the peak
// of its memory. The test needs the file because the operating system's figure for a child includes its
// parent's memory.
const asPlugin = "TEKTON_SIGN_CORPUS_PLUGIN"

func TestMain(m *testing.M) {
	if peak := os.Getenv(asPlugin); peak != "" {
		streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
		exit := cli.Run(context.Background(), "kubectl-tekton_sign", os.Args[1:], streams)
		status, err := os.ReadFile("/proc/self/status")
		if err == nil {
			err = os.WriteFile(peak, status, 0o600)
		}
		if err != nil {
			panic(err)
		}
		os.Exit(exit)
	}
	os.Exit(m.Run())
}

// TestMemory runs every expensive case in its own process.
func TestMemory(t *testing.T) {
	all, err := cases()
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, c := range all {
		if !strings.HasPrefix(c.Name, "resources/") {
			continue
		}
		ran++
		t.Run(c.Name, func(t *testing.T) {
			dir := place(t, c)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "verify", "--offline", "--allow-unrecorded",
				"-f", filepath.Join(dir, "case"), "--trust-bundle", filepath.Join(dir, "bundle"))
			status := filepath.Join(dir, "status")
			cmd.Env = append(os.Environ(), asPlugin+"="+status)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != c.Want.Exit {
				t.Fatalf("%v, want exit code %d\n%.2000s", err, c.Want.Exit, out)
			}
			peak := peakOf(t, status)
			if peak > mostMemory {
				t.Errorf("it took %d MiB of memory, want at most %d", peak>>20, mostMemory>>20)
			}
			t.Logf("%d MiB, %v of processor time", peak>>20, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		})
	}
	if ran == 0 {
		t.Fatal("no case wants much")
	}
}

// peakOf returns the peak of a process's resident memory, in bytes, from its /proc/PID/status.
func peakOf(t *testing.T, file string) int64 {
	t.Helper()
	status, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	rest, _, _ = strings.Cut(rest, " kB")
	kib, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// BenchmarkWorst verifies every expensive case and reports the slowest.
func BenchmarkWorst(b *testing.B) {
	all, err := cases()
	if err != nil {
		b.Fatal(err)
	}
	var slowest time.Duration
	for b.Loop() {
		for _, c := range all {
			if !strings.HasPrefix(c.Name, "resources/") {
				continue
			}
			dir := place(b, c)
			start := time.Now()
			out := run(b, dir, c, "table")
			slowest = max(slowest, time.Since(start))
			if out.exit != c.Want.Exit {
				b.Fatalf("%s: exit code %d", c.Name, out.exit)
			}
		}
	}
	b.ReportMetric(float64(slowest.Milliseconds()), "ms-slowest")
}
