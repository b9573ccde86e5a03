// SPDX-License-Identifier: Apache-2.0

//go:build !race

package corpus_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/cli"
)

// mostMemory is what one case may take, in bytes. The race detector takes several times as much, hence the build tag.
const mostMemory = 512 << 20

// asPlugin makes the test's own binary be the plugin.
const asPlugin = "TEKTON_SIGN_CORPUS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
		os.Exit(cli.Run(context.Background(), "kubectl-tekton_sign", os.Args[1:], streams))
	}
	os.Exit(m.Run())
}

// TestMemory runs every case that wants much in a process of its own.
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
			cmd := exec.CommandContext(t.Context(), os.Args[0], "verify", "--offline",
				"-f", filepath.Join(dir, "case"), "--trust-bundle", filepath.Join(dir, "bundle"))
			cmd.Env = append(os.Environ(), asPlugin+"=1")
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != c.Want.Exit {
				t.Fatalf("%v, want exit code %d\n%.2000s", err, c.Want.Exit, out)
			}
			usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
			if !ok {
				t.Fatal("no resource usage")
			}
			if peak := usage.Maxrss << 10; peak > mostMemory {
				t.Errorf("it took %d MiB of memory, want at most %d", peak>>20, mostMemory>>20)
			}
			t.Logf("%d MiB, %v of processor time", usage.Maxrss>>10, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		})
	}
	if ran == 0 {
		t.Fatal("no case wants much")
	}
}
