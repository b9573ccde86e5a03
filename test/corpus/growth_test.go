// SPDX-License-Identifier: Apache-2.0

//go:build !race && linux

package corpus_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/cli"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
	"github.com/tekton-sign/kubectl-tekton-sign/test/corpus"
)

// What a file may cost that is a number of times larger. Allocated bytes are the same on every machine. Work
// that allocates nothing shows only in the processor time, which is not exact, hence the factor and the
// minimum. If anything is quadratic, eight times the size costs 64 times as much. Costs below the minimum do
// not matter.
const (
	larger       = 8
	moreBytes    = 2 // times the linear cost
	moreTime     = 3 // the same
	freeBytes    = 16 << 20
	freeTime     = 500 * time.Millisecond
	mostTime     = 20 * time.Second // ten times the budget of one object, for machines that are slow and busy
	mostOfOneRun = 2 << 30          // allocated bytes, not those in use
)

// bases returns signed TaskRuns of each kind, as JSON.
func bases(t *testing.T) (all map[string][]byte, bundle []byte) {
	t.Helper()
	cluster, err := verifytest.NewCluster()
	if err == nil {
		cluster.CA, err = verifytest.NewCA(verifytest.TrustDomain)
	}
	if err == nil {
		bundle, err = cluster.Bundle()
	}
	if err != nil {
		t.Fatal(err)
	}
	all = map[string][]byte{}
	for name, change := range map[string]func(*verifytest.Run){
		"plain": func(*verifytest.Run) {}, "sidecar": func(*verifytest.Run) {},
		"spire":  func(r *verifytest.Run) { r.Scheme = signing.SchemeSPIRE },
		"legacy": func(r *verifytest.Run) { r.Format, r.Scheme = signing.FormatV1, signing.SchemeOIDCKeyBound },
	} {
		r := verifytest.NewRun()
		change(r)
		make := r.TaskRun
		if name == "sidecar" {
			make = r.SidecarTaskRun
		}
		tr, err := make(cluster)
		if err != nil {
			t.Fatal(name, err)
		}
		verifytest.DropCarriers(tr)
		if all[name], err = json.Marshal(tr); err != nil {
			t.Fatal(err)
		}
	}
	return all, bundle
}

// cost is the cost of one call.
type cost struct {
	bytes uint64        // allocated
	time  time.Duration // processor time of all threads
}

// costOf calls f and returns its cost.
func costOf(t *testing.T, f func()) cost {
	t.Helper()
	now := func() cost {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			t.Fatal(err)
		}
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return cost{stats.TotalAlloc, time.Duration(usage.Utime.Nano() + usage.Stime.Nano())}
	}
	runtime.GC()
	before := now()
	f()
	after := now()
	return cost{after.bytes - before.bytes, after.time - before.time}
}

// checkGrowth measures f at two sizes. If the larger one cost much, it measures it again, because other
// processes may have slowed it down, or a garbage collection may have emptied pools of buffers.
func checkGrowth(t *testing.T, f func(size int)) {
	t.Helper()
	small, large := costOf(t, func() { f(1) }), costOf(t, func() { f(larger) })
	allowed, allowedTime := moreBytes*larger*small.bytes+freeBytes, moreTime*larger*small.time+freeTime
	if large.time > allowedTime || large.bytes > allowed {
		again := costOf(t, func() { f(larger) })
		large = cost{min(large.bytes, again.bytes), min(large.time, again.time)}
	}
	if large.bytes > allowed || large.bytes > mostOfOneRun {
		t.Errorf("%d times as much allocates %d MiB instead of %d KiB, want at most %d MiB", larger, large.bytes>>20,
			small.bytes>>10,
			min(allowed, mostOfOneRun)>>20)
	}
	if large.time > allowedTime || large.time > mostTime {
		t.Errorf("%d times as much takes %v of processor time instead of %v, want at most %v", larger, large.time, small.time,
			min(allowedTime, mostTime))
	}
	t.Logf("%d KiB, %v, then %d MiB, %v", small.bytes>>10, small.time, large.bytes>>20, large.time)
}

// commands returns the commands that read files from others.
func commands(dir string) map[string][]string {
	file, bundle := filepath.Join(dir, "case"), filepath.Join(dir, "bundle")
	verify := []string{"verify", "--offline", "--allow-unrecorded", "-f", file, "--trust-bundle", bundle, "-o"}
	return map[string][]string{
		"verify":         append(verify[:len(verify):len(verify)], "table"),
		"verify -o json": append(verify[:len(verify):len(verify)], "json"),
		"evidence":       {"evidence", "-f", file, "-o", "json"},
	}
}

// checkFile checks the cost of every command for files of both sizes.
func checkFile(t *testing.T, bundle []byte, names []string, file func(size int) []byte) {
	t.Helper()
	files := map[int][]byte{1: file(1), larger: file(larger)}
	dirs := map[int]string{}
	for size, data := range files {
		dirs[size] = place(t, corpus.Case{File: data, Bundle: bundle})
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			checkGrowth(t, func(size int) {
				var out, errs bytes.Buffer
				streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errs}
				_ = cli.Run(t.Context(), "kubectl-tekton_sign", commands(dirs[size])[name], streams)
				if strings.Contains(errs.String(), "internal error") {
					t.Errorf("%.300s", errs.String())
				}
			})
		})
	}
}

// The cost of a TaskRun grows no faster than its size, whatever it is that grows.
func TestGrowth(t *testing.T) {
	all, bundle := bases(t)
	for _, g := range grownObjects {
		t.Run(g.name, func(t *testing.T) {
			checkFile(t, bundle, []string{"verify", "verify -o json", "evidence"}, func(size int) []byte {
				var o object
				if err := json.Unmarshal(all[g.base], &o); err != nil {
					t.Fatal(err)
				}
				g.grow(o, g.most*size/larger)
				data, err := json.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				if len(data) > 8<<20 {
					t.Fatalf("%d bytes are more than is read", len(data))
				}
				return data
			})
		})
	}
}

// The same holds for files without a TaskRun.
func TestGrowthOfTexts(t *testing.T) {
	_, bundle := bases(t)
	for _, g := range grownTexts {
		t.Run(g.name, func(t *testing.T) {
			checkFile(t, bundle, []string{"verify", "evidence"},
				func(size int) []byte { return []byte(g.text(g.most * size / larger)) })
		})
	}
}
