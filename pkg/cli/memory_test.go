// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"
)

// repeated is a text that is read n times in a row.
type repeated struct {
	text []byte
	n    int
	rest []byte
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.n == 0 {
			return 0, io.EOF
		}
		r.n--
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// heapWatcher remembers the most memory that was alive while something was written to it. Garbage does not count:
// how much of it there is depends on what else the machine does.
type heapWatcher struct {
	writes int
	peak   uint64
}

func (w *heapWatcher) Write(p []byte) (int, error) {
	if w.writes++; w.writes%500 == 0 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		w.peak = max(w.peak, stats.HeapAlloc)
	}
	return len(p), nil
}

// Memory does not grow with the number of TaskRuns: all of these, decoded, would take several times what is allowed.
func TestMemoryIsConstant(t *testing.T) {
	const taskRuns, limit = 3000, 20 << 20
	dir := workFolder(t)
	text, err := os.ReadFile(filepath.Join(dir, "build.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var object any
	if err := yaml.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	out := &heapWatcher{}
	streams := genericiooptions.IOStreams{In: &repeated{text: append(line, '\n'), n: taskRuns}, Out: out,
		ErrOut: &bytes.Buffer{}}
	args := []string{"verify", "--allow-unrecorded", "-f", "-", "--offline", "-o", "json", "--trust-bundle",
		filepath.Join(dir, "bundle.json")}
	if code := Run(t.Context(), "kubectl-tekton_sign", args, streams); code != ExitOK {
		t.Fatalf("exit code %d", code)
	}
	if out.writes < taskRuns || out.peak == 0 || out.peak > limit {
		t.Errorf("the heap grew to %d bytes in %d writes, want at most %d", out.peak, out.writes, limit)
	}
	t.Logf("%d MiB at most", out.peak>>20)
}

// What evidence shows is held in one piece, so that it stops reading in time, however long its input is.
func TestEvidenceStopsReading(t *testing.T) {
	const taskRuns, limit = 1 << 20, 256 << 20
	for _, format := range []string{"table", "json", "in-toto"} {
		t.Run(format, func(t *testing.T) {
			line := []byte(`{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"a","namespace":"ci"}}` + "\n")
			input, errs := &repeated{text: line, n: taskRuns}, &bytes.Buffer{}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			streams := genericiooptions.IOStreams{In: input, Out: io.Discard, ErrOut: errs}
			if code := Run(t.Context(), "kubectl-tekton_sign", []string{"evidence", "-f", "-", "-o", format},
				streams); code != ExitError {
				t.Errorf("exit code %d, want %d", code, ExitError)
			}
			runtime.ReadMemStats(&after)
			if input.n == 0 || !strings.Contains(errs.String(), "expected at most 16 MiB") {
				t.Errorf("%d TaskRuns are left, %.300s", input.n, errs)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 4*limit {
				t.Errorf("%d MiB were allocated", n>>20)
			}
		})
	}
}
