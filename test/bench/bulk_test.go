// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// Size of the file that is verified in bulk: distinct TaskRuns, repeated until there are enough.
const (
	bulkTotal    = 100_000
	bulkShort    = 1_000 // with -short
	bulkDistinct = 500
)

// BenchmarkBulk verifies 100,000 TaskRuns from one file with the plugin itself, on one core and on two.
func BenchmarkBulk(b *testing.B) {
	dir := b.TempDir()
	plugin := filepath.Join(dir, "kubectl-tekton_sign")
	build := exec.CommandContext(b.Context(), "go", "build", "-o", plugin, "../../cmd/kubectl-tekton-sign")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	total := bulkTotal
	if testing.Short() {
		total = bulkShort
	}
	bulkFiles(b, dir, total)
	var one, two []time.Duration
	var peak int64
	for b.Loop() {
		wall, rss := verifyBulk(b, plugin, dir, total, 1)
		one, peak = append(one, wall), max(peak, rss)
		wall, rss = verifyBulk(b, plugin, dir, total, 2)
		two, peak = append(two, wall), max(peak, rss)
	}
	b.ReportMetric(float64(total)/median(one).Seconds(), "taskruns/s-1-core")
	b.ReportMetric(float64(total)/median(two).Seconds(), "taskruns/s-2-cores")
	b.ReportMetric(float64(median(one))/float64(median(two)), "times-faster-on-2-cores")
	b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
}

// bulkFiles writes the TaskRuns, one on each line, and the trust bundle.
func bulkFiles(b *testing.B, dir string, total int) {
	b.Helper()
	cluster, _ := newCluster(b)
	bundle, err := cluster.Bundle()
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bundle.json"), bundle, 0o600); err != nil {
		b.Fatal(err)
	}
	var lines [][]byte
	for i := range bulkDistinct {
		uid := fmt.Sprintf("6340374f-3a88-4ff2-812e-%012x", i)
		lines = append(lines, recordedJSON(b, cluster, typicalRun(fmt.Sprintf("build-%d", i), uid)))
	}
	f, err := os.Create(filepath.Join(dir, "taskruns.ndjson"))
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range total {
		_, _ = w.Write(lines[i%bulkDistinct]) // Flush returns the first error
		_ = w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

// recordedJSON returns a TaskRun as the API server serves it once the add-on has recorded it.
func recordedJSON(b *testing.B, cluster *verifytest.Cluster, run *verifytest.Run) []byte {
	b.Helper()
	tr := signed(b, cluster, run)
	if err := cluster.Record(tr, verifytest.Recording{}); err != nil {
		b.Fatal(err)
	}
	verifytest.DropCarriers(tr)
	return encode(b, tr)
}

// verifyBulk returns how long the plugin took for a number of TaskRuns on a number of cores, and its peak of memory in
// bytes.
func verifyBulk(b *testing.B, plugin, dir string, total, cores int) (time.Duration, int64) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, plugin, "verify", "--offline", "-f", filepath.Join(dir, "taskruns.ndjson"),
		"--trust-bundle", filepath.Join(dir, "bundle.json"))
	cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", cores))
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v\n%s", err, out.text)
	}
	wall := time.Since(start)
	if want := fmt.Sprintf("%d VERIFIED", total); !strings.Contains(out.text, want) {
		b.Fatalf("the output does not end with %q: %s", want, out.text)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		b.Fatal("no resource usage")
	}
	return wall, usage.Maxrss << 10
}

// tail keeps the last bytes written to it.
type tail struct{ text string }

func (t *tail) Write(p []byte) (int, error) {
	t.text += string(p)
	t.text = t.text[max(0, len(t.text)-1000):]
	return len(p), nil
}
