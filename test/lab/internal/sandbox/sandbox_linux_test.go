// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseHierarchies(t *testing.T) {
	tests := map[string]struct {
		mountinfo string
		want      []hierarchy
	}{
		"hybrid": {
			mountinfo: `22 1 0:20 / /proc rw - proc proc rw
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw master:1 - cgroup2 cgroup2 rw,nsdelegate
34 30 0:27 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct
`,
			want: []hierarchy{
				{mount: "/sys/fs/cgroup/cpu,cpuacct", options: "cpu,cpuacct"},
				{mount: "/sys/fs/cgroup/systemd", options: "none,name=systemd"},
				{mount: "/sys/fs/cgroup/unified", unified: true},
			},
		},
		"version 2": {
			mountinfo: "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
			want:      []hierarchy{{mount: "/sys/fs/cgroup", unified: true}},
		},
		"none":      {mountinfo: "22 1 0:20 / /proc rw - proc proc rw\n"},
		"malformed": {mountinfo: "cgroup\n - cgroup\n1 2 3 - cgroup cgroup rw\n\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseHierarchies(strings.NewReader(test.mountinfo))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(hierarchy{})); diff != "" {
				t.Errorf("hierarchies (-want +got):\n%s", diff)
			}
		})
	}
}

func shell(name, script string) Component {
	return Component{Name: name, Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"GREETING=hello"}}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("expected within 10 s: %s", what)
}

// TestManager runs real processes. The manager reaps every child of this process, so nothing else here starts any.
func TestManager(t *testing.T) {
	logs := t.TempDir()
	m := newManager(logs)
	go m.reap()
	one := func(name string) ComponentStatus {
		for _, status := range m.status() {
			if status.Name == name {
				return status
			}
		}
		return ComponentStatus{}
	}

	if err := m.start(shell("greeter", "echo $GREETING; exec sleep 600")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the component's output is in its log", func() bool {
		data, _ := os.ReadFile(filepath.Join(logs, "greeter.log"))
		return string(data) == "hello\n"
	})
	if err := m.start(shell("greeter", "true")); err == nil {
		t.Error("second start: expected an error, got none")
	}

	first := one("greeter").PID
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a component that was killed runs again", func() bool {
		status := one("greeter")
		return status.Restarts == 1 && status.PID != 0 && status.PID != first && status.LastExit == "signal killed"
	})

	if err := m.stop("greeter", time.Minute); err != nil {
		t.Fatal(err)
	}
	stopped := one("greeter")
	if stopped.PID != 0 || stopped.Wanted || stopped.LastExit != "signal terminated" {
		t.Errorf("after stop: expected no process, ended by SIGTERM, got %+v", stopped)
	}
	time.Sleep(restartPause + 200*time.Millisecond)
	if pid := one("greeter").PID; pid != 0 {
		t.Errorf("after stop: expected that it stays down, got process %d", pid)
	}
	if err := m.stop("greeter", time.Minute); err != nil {
		t.Errorf("second stop: expected no error, got %v", err)
	}
	if err := m.stop("unknown", time.Minute); err == nil {
		t.Error("stop of an unknown component: expected an error, got none")
	}

	if err := m.start(shell("stubborn", `trap "" TERM; echo ready; while true; do sleep 0.1; done`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stubborn component ignores SIGTERM", func() bool {
		data, _ := os.ReadFile(filepath.Join(logs, "stubborn.log"))
		return string(data) == "ready\n"
	})
	if err := m.stop("stubborn", 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if got := one("stubborn").LastExit; got != "signal killed" {
		t.Errorf("stubborn component: expected signal killed, got %s", got)
	}

	if err := m.start(Component{Name: "missing", Path: "/does/not/exist"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing executable: expected that it does not exist, got %v", err)
	}
}

func TestLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if locked(path) {
		t.Error("no file: expected no lock, got one")
	}
	lock, err := Lock(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if !locked(path) {
		t.Error("held: expected a lock, got none")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: expected to wait in vain, got %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if locked(path) {
		t.Error("freed: expected no lock, got one")
	}
}

func TestStopOfNothing(t *testing.T) {
	if err := Stop(t.TempDir()); err != nil {
		t.Errorf("empty folder: expected no error, got %v", err)
	}
	if _, running := Running(t.TempDir()); running {
		t.Error("empty folder: expected that nothing runs, got that it does")
	}
}
